"""What is planted: one fault a program.

`SCORES` says what the last number that a program prints is; `KINDS` which rules name the true cause of a kind of fault;
`PLANTED` the edits. A planted fault must make the score worse; where it is the score itself that lies, or what is lost
is not in it, `proven` says why the program is wrong all the same.
"""

from __future__ import annotations

from faults import first, pictures, sequences
from faults.fault import KINDS, Fault

SCORES = {**first.SCORES, **sequences.SCORES, **pictures.SCORES}
PLANTED = (*first.PLANTED, *sequences.PLANTED, *pictures.PLANTED)

__all__ = ["KINDS", "PLANTED", "SCORES", "Fault"]
