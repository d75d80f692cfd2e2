"""The socket at which an instrument gives its frames: what it bounds, and whom it lets in."""

from __future__ import annotations

import zmq

from ..core.errors import ChannelClosed
from .armour import Armour, armoured
from .channel import MOST_CREDIT
from .keep_alive import keep_alive


def listening(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, armour: Armour | None) -> zmq.Socket[bytes]:
    """Return a router that listens at an endpoint; where that fails, the context is ended too.

    Raises
    ------
    ChannelClosed
        If the endpoint cannot be listened at.
    """
    router = context.socket(zmq.ROUTER)
    # A send to a peer that is gone must fail, or its frames would vanish inside the socket.
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.PROBE_ROUTER, 1)
    router.setsockopt(zmq.SNDHWM, 2 * MOST_CREDIT)
    router.setsockopt(zmq.MAXMSGSIZE, 2**16)
    keep_alive(router)
    armoured(context, router, armour)
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        router.close(linger=0)
        context.term()
        raise ChannelClosed(f"cannot listen at {endpoint!r}: {error}; name a free port of this machine") from None
    return router
