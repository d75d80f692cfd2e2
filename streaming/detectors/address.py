"""Where a detector streams from: HOST, HOST:PORT or HOST:PORT/REST."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...core.errors import SettingsInvalid

_SPELT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?(?:/(?P<rest>[^/]*))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A host, a port and what stands behind them.

    >>> Address.parsed("quadro:9999/threshold_2", 31001)
    Address(host='quadro', port=9999, rest='threshold_2')
    """

    host: str
    port: int
    rest: str = ""

    @classmethod
    def parsed(cls, text: str, port: int) -> Address:
        """Return the address that was spelt; `port` where it has none.

        Raises
        ------
        SettingsInvalid
            If it is none.
        """
        found = _SPELT.fullmatch(text)
        given = int(found["port"]) if found and found["port"] else port
        if found is None or not 0 < given < 65536:
            raise SettingsInvalid(
                f"{text!r} is no address of a detector; write HOST or HOST:PORT, for example quadro:{port}"
            )
        return cls(found["host"].strip("[]"), given, found["rest"] or "")

    @property
    def endpoint(self) -> str:
        """For ZeroMQ."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    def refused(self, instead: str) -> SettingsInvalid:
        """Return the error about what stands behind the port and is not used there."""
        return SettingsInvalid(f"/{self.rest} behind {self.host}:{self.port} means nothing there; write {instead}")
