"""The edge side: proxy, runner, journal, run file and report."""

from .instrument import RemoteInstrument as RemoteInstrument
from .instrument import connect as connect
