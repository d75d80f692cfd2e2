"""A bench that is served with keys, as processes of their own; what the tests of keys share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beamloop.core import KeyRefused
from beamloop.core.control import Role
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.shown_key import ShownKey
from beamloop.instrument_server.keys.making import add_key, make_folder
from beamloop.instrument_server.keys.place import Place

from .test_processes import Served, served

WAIT_S = 30.0
ROLES: dict[str, Role] = {"olga": "observer", "otto": "operator", "emma": "engineer"}


class Keyed:
    """One served bench and its folder of keys."""

    def __init__(self, bench: Served, place: Place, folder: Path) -> None:
        self.bench, self.place, self._folder, self._number = bench, place, folder, 0

    @property
    def address(self) -> Address:
        return self.bench.address

    def key(self, role: Role = "operator", days: float = 1.0) -> ShownKey:
        """List a key of a new name and return it."""
        self._number += 1
        return new_key(self.place, f"key{self._number}", role, days, self._folder)

    def line(self, key: ShownKey | None, client: str = "") -> ControlLine:
        name = client or (f"{key.name}/test" if key is not None else "test")
        return ControlLine(self.address, name, timeout_s=WAIT_S, key=key)

    def turned_away(self, line: str) -> list[str]:
        """Return why somebody was refused on a line, as the audit says."""
        return [fact["reason"] for fact in self.audited("turned away") if fact["line"] == line]

    def audited(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the audit about an event."""
        files = sorted(self.bench.folder.glob("audit*.jsonl"))
        told = [json.loads(text) for file in files for text in file.read_text().splitlines()]
        return [fact for fact in told if fact["event"] == event]


def new_key(place: Place, name: str, role: Role, days: float, folder: Path) -> ShownKey:
    file = folder / f"{name}.key"
    add_key(place, name, role, days, file)
    return ShownKey(file)


@contextmanager
def served_with_keys(folder: Path, *beside: Path) -> Iterator[Keyed]:
    place = Place(folder / "keys")
    make_folder(place)
    with served(folder, "", 'keys = "keys"\n', *beside) as bench:
        yield Keyed(bench, place, folder)


def until_let_in(ask: Callable[[], Any]) -> Any:
    """Ask until a key that was listed just now is let in."""
    late = time.monotonic() + WAIT_S
    while True:
        try:
            return ask()
        except KeyRefused:
            assert time.monotonic() < late
            time.sleep(0.02)
