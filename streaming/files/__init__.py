"""NSID files: write signals and growing scans, read recordings."""

from .compression import Compression as Compression
from .growing import GrowingSignal as GrowingSignal
from .growing import create_signal as create_signal
from .nsid import write_signal as write_signal
from .recording import RecordedDetector as RecordedDetector
from .recording import Recording as Recording
from .recording import open_recording as open_recording
from .units import customary as customary
from .units import si_units as si_units
