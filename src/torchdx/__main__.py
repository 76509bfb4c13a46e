"""`python -m torchdx` is `torchdx`."""

from torchdx.cli import main

if __name__ == "__main__":
    main()
