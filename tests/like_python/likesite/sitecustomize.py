"""A user's own, which speaks on stderr and looks at the path."""

import sys

SEEN = sys.path[:2]
print("their sitecustomize", __name__, file=sys.stderr)
