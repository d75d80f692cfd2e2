"""Streams of real detectors as scans: Merlin, DECTRIS SIMPLON V1 and V2; emulators have a door of their own."""

from .dectris_connection import DectrisConnection as DectrisConnection
from .live_scan import Connection as Connection
from .live_scan import LiveScan as LiveScan
from .merlin_connection import MerlinConnection as MerlinConnection
