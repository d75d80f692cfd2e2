"""Limits while the instrument runs: the interlock, what an engineer narrows, and the dry run of a plan."""
