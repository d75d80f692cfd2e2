"""beamloop: live autonomous experiments on electron microscopes and beamlines."""

__version__ = "0.1.0"
