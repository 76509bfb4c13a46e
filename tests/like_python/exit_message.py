"""`sys.exit` with words: they go to stderr, and the status is 1."""

import sys

print("before")
sys.exit("no data folder: give one with --data")
