"""The lines to an instrument: control, guard, and the heartbeat that keeps the lease."""
