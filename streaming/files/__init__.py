"""Write signals and growing scans as NSID files; read recordings of many kinds."""

from .alignment import field_of as field_of
from .compression import Compression as Compression
from .found import Found as Found
from .growing import GrowingSignal as GrowingSignal
from .growing import create_signal as create_signal
from .nsid import write_signal as write_signal
from .recorded import RecordedDetector as RecordedDetector
from .recording import Recording as Recording
from .recording import open_recording as open_recording
from .units import customary as customary
from .units import si_units as si_units
