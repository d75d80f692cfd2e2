"""The little of SIMPLON's REST interface that starts a series: configuration, arm, trigger, disarm.

GET, PUT  /detector/api/1.8.0/config/NAME     {"value": ...}
PUT       /detector/api/1.8.0/command/NAME    initialize, arm, trigger, disarm, cancel, abort
GET, PUT  /stream/api/1.8.0/config/NAME       mode, format, header_detail
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock

from .command_port import CommandPort

API = "1.8.0"
LONGEST_BODY = 1 << 16
SILENT_S = 60.0

_PATH = re.compile(rf"/(?P<part>detector|stream)/api/{re.escape(API)}/(?P<kind>config|command)/(?P<name>\w+)/?")
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "trigger_mode": ("ints", "inte", "exts", "exte"), "compression": ("bslz4", "lz4", "none"),
    "mode": ("enabled", "disabled"), "format": ("legacy", "cbor"), "header_detail": ("all", "basic", "none"),
}  # fmt: skip
_COUNTS = ("nimages", "ntrigger")
_SECONDS = ("count_time", "frame_time")
_MOST_FRAMES = 2 * 10**9

Values = dict[str, object]


class Refused(Exception):
    """A request that the interface does not grant, with the status of the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Simplon(CommandPort):
    """The state behind the interface, and the interface; any thread may call any method.

    Parameters
    ----------
    detector, stream
        Configuration at the start. What is not among the values that can be set is read only.

    Attributes
    ----------
    armed, triggered, halt
        Set when a client arms, triggers, or ends the series.
    is_armed
        Whether a series is under way; nothing can be set meanwhile.
    number
        Of the last series.
    """

    def __init__(self, detector: Values, stream: Values) -> None:
        self.armed, self.triggered, self.halt = Event(), Event(), Event()
        self.is_armed = False
        self.number = 0
        self._values = {"detector": dict(detector), "stream": dict(stream)}
        self._lock = Lock()

    def listen(self, host: str, port: int) -> int:
        """Begin to listen; return the port.

        Raises
        ------
        SettingsInvalid
            If the port cannot be had.
        """
        return self.serve("the detector's REST interface", lambda address: _Server(address, self), host, port)

    def config(self, part: str) -> Values:
        """Return the configuration of `detector` or `stream` as it is now."""
        with self._lock:
            return dict(self._values[part])

    def begin(self) -> int:
        """Begin a series; return its number."""
        with self._lock:
            self.is_armed = True
            self.number += 1
            return self.number

    def answer(self, method: str, path: str, body: bytes) -> object:
        """Do what a request says, and return what is answered.

        Raises
        ------
        Refused
            If there is no such thing, or it cannot be that.
        """
        if method == "GET" and path.rstrip("/") == "/detector/api/version":
            return {"value": API, "value_type": "string"}
        found = _PATH.fullmatch(path)
        if found is None:
            raise Refused(404, f"{path[:80]} is not there")
        part, kind, name = found["part"], found["kind"], found["name"]
        if kind == "command":
            return self._do(name if method == "PUT" and part == "detector" else "")
        with self._lock:
            values = self._values[part]
            if name not in values:
                raise Refused(404, f"{part} has no {name}")
            if method == "GET":
                return {"value": values[name], "value_type": type(values[name]).__name__}
            if self.is_armed:
                raise Refused(400, f"{name} cannot be set while a series is under way; disarm first")
            values[name] = _fitting(name, body)
            return [name]

    def _do(self, name: str) -> object:
        if name == "arm":
            if self.is_armed or self.armed.is_set():
                raise Refused(400, "a series is under way; disarm first")
            self.halt.clear()
            self.triggered.clear()
            self.armed.set()
            return {"sequence id": self.number + 1}
        if name == "trigger":
            self.triggered.set()
        elif name in ("disarm", "cancel", "abort"):
            self.armed.clear()
            self.halt.set()
            return {"sequence id": self.number}
        elif name != "initialize":
            raise Refused(404, f"there is no command {name!r}")
        return {}


def _fitting(name: str, body: bytes) -> object:
    """Return the value that a body sets."""
    try:
        value = json.loads(body)["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(400, f'{name} is set with {{"value": ...}}') from None
    if name in _ALLOWED:
        fits = value in _ALLOWED[name]
    elif name in _COUNTS:
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_FRAMES
    elif name in _SECONDS:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 3600
    else:
        raise Refused(400, f"{name} is read only")
    if not fits:
        raise Refused(400, f"{name} cannot be {str(value)[:40]!r}")
    return value


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], state: Simplon) -> None:
        self.state = state
        super().__init__(address, _Client)


class _Client(BaseHTTPRequestHandler):
    timeout = SILENT_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer what is asked."""
        self._answer("GET")

    def do_PUT(self) -> None:
        """Do what is asked."""
        self._answer("PUT")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        length = self.headers.get("Content-Length", "0")
        try:
            if not length.isdecimal() or int(length) > LONGEST_BODY:
                self.close_connection = True
                raise Refused(413, f"a body has {LONGEST_BODY} bytes at most")
            assert isinstance(self.server, _Server)
            status, told = 200, self.server.state.answer(method, self.path, self.rfile.read(int(length)))
        except Refused as refused:
            status, told = refused.status, {"error": str(refused)}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
