"""Addresses as people type them."""

from __future__ import annotations

import pytest

from beamloop.core import SettingsInvalid
from beamloop.edge_client.connection.address import Address, address_from


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("stem-3", Address("stem-3", 7440)),
        ("10.0.0.7:9000", Address("10.0.0.7", 9000)),
        ("h:65533", Address("h", 65533)),
    ],
)
def test_a_host_with_or_without_a_port_is_an_address(typed: str, meant: Address) -> None:
    assert address_from(typed) == meant


@pytest.mark.parametrize("typed", ["", ":7440", "host:", "host:abc", "host:0", "host:65534", "host:-1"])
def test_what_is_no_address_is_refused_with_what_was_typed(typed: str) -> None:
    with pytest.raises(SettingsInvalid, match="HOST"):
        address_from(typed)


def test_the_three_lines_are_neighbouring_ports() -> None:
    there = Address("h", 7440)
    assert (there.frames, there.guard) == ("tcp://h:7441", "tcp://h:7442")
