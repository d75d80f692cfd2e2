"""Merlin's command port: what is set, what is asked, and when an acquisition starts.

A command is `GET|SET|CMD,NAME[,VALUE]`; its answer repeats it and ends in 0 (done), 1 (busy), 2 (unknown) or 3 (out of
range). One port serves several clients.
"""

from __future__ import annotations

import math
import socketserver
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock

from ..merlin import PREFIX, PREFIX_BYTES, message
from .command_port import CommandPort

DONE, BUSY, UNKNOWN, OUT_OF_RANGE = 0, 1, 2, 3
SOFT_TRIGGER = 5
RAW_FORMAT = 2
LONGEST_COMMAND = 4096
SILENT_S = 600.0
"""A client that says nothing for so long is left."""

_ALLOWED: dict[str, frozenset[float] | tuple[float, float]] = {
    "NUMFRAMESTOACQUIRE": (0.0, 2.0**31), "NUMFRAMESPERTRIGGER": (0.0, 2.0**31),
    "ACQUISITIONTIME": (0.0, 1e9), "ACQUISITIONPERIOD": (0.0, 1e9), "COUNTERDEPTH": frozenset((1.0, 6.0, 12.0, 24.0)),
    "TRIGGERSTART": frozenset(map(float, range(SOFT_TRIGGER + 1))),
    "FILEFORMAT": frozenset((0.0, float(RAW_FORMAT))), "RUNHEADLESS": frozenset((0.0, 1.0)),
}  # fmt: skip
"""What may be set, and to what: one of some numbers, or any from one to another."""


@dataclass(frozen=True)
class Asked:
    """What the next acquisition is to be."""

    frames: int
    at_once: int
    depth: int
    is_raw: bool
    is_triggered: bool
    shutter_s: float


class MerlinControl(CommandPort):
    """The state behind a command port, and the port; any thread may call any method.

    Parameters
    ----------
    values
        Values by name at the start; those that cannot be set are read only.

    Attributes
    ----------
    start, trigger, halt
        Set when a client asks for the start of an acquisition, its trigger, its end.
    is_busy
        Whether an acquisition is under way; nothing can be set meanwhile.
    """

    def __init__(self, values: dict[str, float | str]) -> None:
        self.start, self.trigger, self.halt = Event(), Event(), Event()
        self.is_busy = False
        self._values = dict(values)
        self._lock = Lock()

    def listen(self, host: str, port: int) -> int:
        """Begin to listen; return the port.

        Raises
        ------
        SettingsInvalid
            If the port cannot be had.
        """
        return self.serve("Merlin's command port", lambda address: _Server(address, self), host, port)

    def asked(self) -> Asked:
        """Return what the next acquisition is to be."""
        with self._lock:
            number = {name: float(value) for name, value in self._values.items() if name in _ALLOWED}
        return Asked(
            int(number["NUMFRAMESTOACQUIRE"]), int(number["NUMFRAMESPERTRIGGER"]), int(number["COUNTERDEPTH"]),
            number["FILEFORMAT"] == RAW_FORMAT, number["TRIGGERSTART"] == SOFT_TRIGGER, number["ACQUISITIONTIME"] / 1e3,
        )  # fmt: skip

    def answer(self, command: str) -> str:
        """Do what a command says, and return the answer.

        >>> control = MerlinControl({"COUNTERDEPTH": 12})
        >>> control.answer("GET,COUNTERDEPTH"), control.answer("SET,COUNTERDEPTH,7"), control.answer("CMD,DANCE")
        ('GET,COUNTERDEPTH,12,0', 'SET,COUNTERDEPTH,3', 'CMD,DANCE,2')
        """
        kind, _, rest = command.partition(",")
        name, _, value = rest.partition(",")
        if kind == "GET":
            with self._lock:
                known = name in self._values
                return f"GET,{name},{self._values.get(name, 0)},{DONE if known else UNKNOWN}"
        if kind == "SET":
            return f"SET,{name},{self._set(name, value)}"
        return f"{kind},{name},{self._do(name) if kind == 'CMD' else UNKNOWN}"

    def _set(self, name: str, text: str) -> int:
        with self._lock:
            if name not in _ALLOWED or name not in self._values:
                return UNKNOWN
            if self.is_busy:
                return BUSY
            try:
                value = float(text)
            except ValueError:
                return OUT_OF_RANGE
            allowed = _ALLOWED[name]
            fits = value in allowed if isinstance(allowed, frozenset) else allowed[0] <= value <= allowed[1]
            if not math.isfinite(value) or not fits:
                return OUT_OF_RANGE
            self._values[name] = int(value) if value.is_integer() else value
            return DONE

    def _do(self, name: str) -> int:
        if name == "STARTACQUISITION":
            if self.is_busy or self.start.is_set():
                return BUSY
            self.halt.clear()
            self.trigger.clear()
            self.start.set()
        elif name in ("STOPACQUISITION", "ABORT"):
            self.start.clear()
            self.halt.set()
        elif name == "SOFTTRIGGER":
            self.trigger.set()
        else:
            return UNKNOWN
        return DONE


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], control: MerlinControl) -> None:
        self.control = control
        super().__init__(address, _Client)


class _Client(socketserver.StreamRequestHandler):
    timeout = SILENT_S

    def handle(self) -> None:
        """Answer one client until it leaves, falls silent or says what is no command."""
        assert isinstance(self.server, _Server)
        with suppress(OSError):
            while found := PREFIX.fullmatch(self.rfile.read(PREFIX_BYTES)):
                length = int(found[1]) - 1
                if not 0 < length <= LONGEST_COMMAND:
                    return
                command = self.rfile.read(length).decode("latin-1").strip()
                self.wfile.write(message(self.server.control.answer(command).encode("latin-1")))
