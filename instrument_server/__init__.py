"""The instrument side: guard, driver and server processes."""
