"""A connection to an instrument's control port, in TLS where this side has a key, and why it is refused.

With TLS 1.3 a client believes itself connected before the server has looked at its certificate, so a
refusal comes as an alert with the first answer; `refusal` reads it.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from ...core import KeyRefused
from ...core.key_file import SERVER_NAME
from .address import Address
from .shown_key import ShownKey

_NO_TLS = "INSUFFICIENT_SECURITY"
PROBE_S = 2.0


def control_stream(address: Address, key: ShownKey | None, timeout_s: float) -> socket.socket:
    """Connect, and shake hands if there is a key.

    Raises
    ------
    KeyRefused
        If the other side is not the instrument that the key was made for, or serves without keys.
    OSError
        If nobody is there, or leaves.
    """
    stream = socket.create_connection((address.host, address.port), timeout_s)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if key is None:
        return stream
    try:
        return key.tls.wrap_socket(stream, server_hostname=SERVER_NAME)
    except ssl.SSLCertVerificationError as error:
        stream.close()
        raise KeyRefused(
            f"{address} is not the instrument that the key {key.file} was made for ({error.verify_message}); nothing "
            "was sent. Is the address right? After 'beamloop keys init' there, every client needs a new key"
        ) from None
    except OSError as error:
        stream.close()
        raise_if_refused(address, key, str(error))
        raise


def raise_if_refused(address: Address, key: ShownKey | None, told: str) -> None:
    """Raise if what was told of a failed connection means that this side is not let in.

    Raises
    ------
    KeyRefused
        With the reason and what to do.
    """
    if key is None:
        return
    if _NO_TLS in told.upper().replace(" ", "_"):
        raise KeyRefused(
            f"{address} serves without keys, so it is not the instrument that the key {key.file} was made for; "
            "nothing was sent. If this is meant, leave the key out: --key none"
        )
    if "ALERT" in told.upper():
        raise KeyRefused(
            f"{address} refused the key {key.name!r} in {key.file} ({told}); the audit there says why. Ask an engineer "
            "of this instrument for a new one (beamloop keys add)"
        )


def wants_key(address: Address) -> bool:
    """Tell whether TLS is spoken there; asked when a plain connection failed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Nothing is said on this connection, so it does not matter to whom.
    context.verify_mode = ssl.CERT_NONE
    with suppress(OSError), socket.create_connection((address.host, address.port), PROBE_S) as stream:
        context.wrap_socket(stream).close()
        return True
    return False
