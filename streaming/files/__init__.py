"""Write signals and growing scans as NSID files; read recordings of many kinds."""

from .alignment import field_of as field_of
from .compression import Compression as Compression
from .found import Found as Found
from .growing import GrowingSignal as GrowingSignal
from .growing import create_signal as create_signal
from .nsid import write_signal as write_signal
from .placing import NOMINAL_M as NOMINAL_M
from .recorded import RecordedDetector as RecordedDetector
from .recording import Recording as Recording
from .recording import open_recording as open_recording
from .scan_file import Recorded as Recorded
from .scan_file import ScanFile as ScanFile
from .scan_file import record as record
from .scan_file import scan_end_of as scan_end_of
from .sidpy_dataset import from_sidpy as from_sidpy
from .sidpy_dataset import to_sidpy as to_sidpy
from .units import customary as customary
from .units import si_units as si_units
