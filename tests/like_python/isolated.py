# run: -I -X utf8 {script}
"""`-I`: python reads no environment, so it runs as it does alone, and unwatched."""

import sys

print(sys.flags.isolated, sys.flags.utf8_mode, sys.path, len(sys.meta_path))
