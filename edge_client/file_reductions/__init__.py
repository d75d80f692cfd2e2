"""Reductions of recorded files: the same as of a live stream, in one pass."""
