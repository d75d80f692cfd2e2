"""Reductions of frame streams: what to compute, in one pass, readable while it grows."""
