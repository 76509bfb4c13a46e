# args: --help
"""`--help` is the script's own."""

import argparse

import torch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--device", default="cpu", choices=["cpu"] + ["cuda"] * torch.cuda.is_available())
parser.parse_args()
