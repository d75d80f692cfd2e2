"""What the desk needs of the two processes beside it: somebody who asks the driver, somebody who asks the guard.

The server gives it sockets (`DriverLink`, `GuardLine`); a simulation gives it whatever shall fail.
"""

from __future__ import annotations

from typing import Any, Protocol


class DriverVoice(Protocol):
    """Speaks with the driver: `DriverLink` in the server."""

    def ask(self, verb: str, timeout_s: float, **arguments: object) -> dict[str, Any]:
        """Send one command and return its answer."""
        ...

    def tell(self, verb: str, **arguments: object) -> None:
        """Send one command and do not wait."""
        ...

    def alive(self) -> bool:
        """Tell whether the driver's process is running."""
        ...


class GuardVoice(Protocol):
    """Speaks with the guard: `GuardLine` in the server."""

    def say(self, act: Any, **facts: object) -> dict[str, Any] | None:
        """Send one message; None if the guard stayed silent."""
        ...
