"""A python started by the script, with arguments, input and a status of its own."""

import subprocess
import sys

code = """
import sys, torch
print(sys.argv, sys.stdin.read(), torch.nn.Linear(2, 1)(torch.ones(1, 2)).shape)
sys.exit(12)
"""
done = subprocess.run([sys.executable, "-c", code, "word"], input="typed", capture_output=True, text=True)
print(done)
