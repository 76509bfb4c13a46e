"""What is planted: one fault a program.

`SCORES` says what the last number that a program prints is; `KINDS` which rules name the true cause of a kind of fault;
`PLANTED` the edits. A planted fault must make the score worse; where it is the score itself that lies, or what is lost
is not in it, `proven` says why the program is wrong all the same.
"""

from __future__ import annotations

from faults import (
    c_pictures,
    c_sequences,
    d_scenes,
    d_sounds,
    e_glyphs,
    e_streams,
    f_forecasts,
    f_policies,
    first,
    g_sensors,
    g_stations,
    h_plates,
    h_strokes,
)
from faults.fault import KINDS, Fault

_SETS = (
    first,
    c_sequences,
    c_pictures,
    d_sounds,
    d_scenes,
    e_streams,
    e_glyphs,
    f_forecasts,
    f_policies,
    g_sensors,
    g_stations,
    h_plates,
    h_strokes,
)

SCORES = {program: meaning for one in _SETS for program, meaning in one.SCORES.items()}
PLANTED = tuple(fault for one in _SETS for fault in one.PLANTED)

__all__ = ["KINDS", "PLANTED", "SCORES", "Fault"]
