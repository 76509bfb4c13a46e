# args: --record runs/1 --format json --strict --output x.txt --html y --overhead 5% --max-steps 3 --quiet -- --version
"""Options that are spelled as a launcher's might be belong to the script."""

import argparse
import sys

parser = argparse.ArgumentParser()
for name in ("record", "format", "output", "html", "overhead", "max-steps"):
    parser.add_argument(f"--{name}")
parser.add_argument("--strict", action="store_true")
parser.add_argument("--quiet", action="store_true")
parser.add_argument("rest", nargs="*")
print(sys.argv[1:], parser.parse_args())
