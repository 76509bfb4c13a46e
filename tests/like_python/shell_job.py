# run: bash likepkg/job.sh
"""A shell script that starts python, pipes into it, and ends with its status (see likepkg/job.sh)."""
