"""The language server: what `torchdx check` says, shown in an editor while one types.

`project` finds and reads the files that belong together, `positions` counts as editors count, `messages` puts findings
into the protocol's words, and `server` speaks it.
"""

from torchdx.integrations.lsp.server import serve

__all__ = ["serve"]
