"""Instruments without hardware: the simulated microscope and recordings played back."""

from .blanker import SharedLine as SharedLine
from .clock import VirtualClock as VirtualClock
