"""Bytes, sockets, files and reductions; heavy parts have doors of their own: `reduce`, `files`."""

from .incoming import IncomingScan as IncomingScan
from .incoming import collect as collect
from .reader import Reader as Reader
from .receiver import Receiver as Receiver
from .receiver import ReceiverStatistics as ReceiverStatistics
from .sender import Sender as Sender
from .sender import SenderStatistics as SenderStatistics
from .viewer import Sight as Sight
from .viewer import Viewer as Viewer
