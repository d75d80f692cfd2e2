"""Streams of real detectors as scans. Connections are found by name (`beamloop.detectors`), emulators in `emulate`."""

from .live_scan import Connection as Connection
from .live_scan import LiveScan as LiveScan
