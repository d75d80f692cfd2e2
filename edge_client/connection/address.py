"""Where an instrument answers: a host and the first of its three neighbouring ports."""

from __future__ import annotations

from typing import NamedTuple

from ...core import SettingsInvalid
from ...core.control import FRAMES_OFFSET, GUARD_OFFSET, PORT


class Address(NamedTuple):
    """Host and control port of one instrument.

    >>> Address("localhost", 7440).frames
    'tcp://localhost:7441'
    """

    host: str
    port: int
    via: str = ""
    """What the person named, where that is not this host and port: an address at a relay."""

    @property
    def frames(self) -> str:
        """ZeroMQ endpoint of the data channel."""
        return f"tcp://{self.host}:{self.port + FRAMES_OFFSET}"

    @property
    def is_far(self) -> bool:
        """Whether it is reached over a network, as far as its name tells.

        >>> Address("localhost", 7440).is_far, Address("stem-3", 7440).is_far
        (False, True)
        """
        return bool(self.via) or not (self.host in ("localhost", "::1") or self.host.startswith("127."))

    @property
    def guard(self) -> str:
        """ZeroMQ endpoint of the guard."""
        return f"tcp://{self.host}:{self.port + GUARD_OFFSET}"

    def __str__(self) -> str:
        return self.via or f"{self.host}:{self.port}"


def address_from(text: str) -> Address:
    """Return the address that `HOST` or `HOST:PORT` names.

    >>> address_from("stem-3")
    Address(host='stem-3', port=7440, via='')

    Raises
    ------
    SettingsInvalid
        If the host is empty or the port is no port.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(PORT)
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535 - GUARD_OFFSET:
        raise SettingsInvalid(f"{text!r} is no address of an instrument; give HOST or HOST:PORT, e.g. localhost:{PORT}")
    return Address(host, int(port))
