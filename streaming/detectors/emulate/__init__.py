"""Detectors that play a recording over their real protocol."""

from .dectris import DectrisEmulator as DectrisEmulator
from .footage import Footage as Footage
from .merlin import MerlinEmulator as MerlinEmulator
from .playing import Playing as Playing
