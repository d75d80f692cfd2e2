"""How a named instrument is reached: straight, or through a gate to the relay that it dials out to."""

from __future__ import annotations

from ...streaming.relay import Gate
from ...streaming.relay.dialling import SCHEME, relay_address
from .address import Address, address_from


def reached(text: str) -> tuple[Address, Gate | None]:
    """Return where to connect for `HOST[:PORT]` or `relay://HOST[:PORT]/NAME`, and the gate to close afterwards.

    Raises
    ------
    SettingsInvalid
        If it is no address.
    InstrumentUnreachable, RelayRefused
        If the relay does not answer, or the instrument is not there.
    """
    if not text.startswith(SCHEME):
        return address_from(text), None
    relay = relay_address(text)
    gate = Gate(relay)
    return Address("127.0.0.1", gate.port, via=str(relay)), gate
