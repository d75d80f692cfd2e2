"""The edge side's commands, one file each."""
