"""Torchdx inside other programs: each integration is a module here, and imports what only it needs."""
