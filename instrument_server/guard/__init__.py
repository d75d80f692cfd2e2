"""The guard: the small process that can always blank and stop, the line to it, and the proof that it does."""
