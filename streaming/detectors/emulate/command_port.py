"""A port at which several clients command an emulated detector: opened, served by a thread, closed."""

from __future__ import annotations

from collections.abc import Callable
from socketserver import TCPServer
from threading import Thread

from ....core.closing import Closing
from .playing import refused_port

LOOK_S = 0.1


class CommandPort(Closing):
    """What answers at a port; a detector's own kind derives from it and opens it with `serve`."""

    _server: TCPServer | None = None

    def serve(self, what: str, made: Callable[[tuple[str, int]], TCPServer], host: str, port: int) -> int:
        """Begin to listen with the server that is made for this address; return the port.

        Raises
        ------
        SettingsInvalid
            If the port cannot be had; `what` is said of it.
        """
        try:
            self._server = made((host, port))
        except OSError as error:
            raise refused_port(what, host, port, error) from None
        Thread(target=self._server.serve_forever, args=(LOOK_S,), name=what, daemon=True).start()
        return self._server.server_address[1]

    def close(self) -> None:
        """Stop listening; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
