"""The edge side's commands: `beamloop info`, `run` and `stop`."""
