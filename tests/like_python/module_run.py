# run: -m likepkg.train --epochs 2
"""`-m`: a module of a package, with relative imports, run by name (see likepkg/train.py)."""
