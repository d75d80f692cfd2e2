"""Reductions of recorded files and of detectors' streams, in one pass."""
