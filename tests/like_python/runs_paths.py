"""`runpy` and `exec`: a script run by a script has the names it would have."""

import runpy
import sys
from pathlib import Path

here = Path(__file__).parent
sys.argv = ["elsewhere", "--epochs", "1"]
names = runpy.run_module("likepkg.train", run_name="__main__", alter_sys=True)
print(sorted(name for name in names if name.islower()), names["__name__"], sys.argv)
print(type(runpy.run_path(str(here / "likepkg" / "net.py"))["Net"]()).__module__)
exec(compile("print(torch.nn.Linear(1, 1)(torch.ones(1, 1)).shape, __name__)", "<text>", "exec"), {**names})
