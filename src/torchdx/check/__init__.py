"""Living with `torchdx check`: settings, silences, baselines and cures, all of them on a finished diagnosis.

Nothing here finds faults, prints, or exits: it decides which findings are told, and writes the edits that rules offer.
"""

from __future__ import annotations

from torchdx.check.selection import BadSetting, UnknownRule, codes_of
from torchdx.check.settings import Configuration
from torchdx.check.telling import told

__all__ = ["BadSetting", "Configuration", "UnknownRule", "codes_of", "told"]
