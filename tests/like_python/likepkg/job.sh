# A job as people write them: options, a pipe on either side, a failing step and its status.
set -u
echo "job starts"
echo "from a pipe" | python -c 'import sys; print(sys.stdin.read(), sys.argv, sys.path[0] == "")'
python -m likepkg.train --epochs 1 | sed 's/^/out: /'
python -c 'import sys; sys.exit("the last step fails")'
