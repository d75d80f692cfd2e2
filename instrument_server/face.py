"""What clients see through Pyro5: one object with one method, msgpack only, loopback only.

Registered as an object, never a class, so every connection speaks to the same instrument.
This is the only file of the instrument side that imports Pyro5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import Pyro5.api
import Pyro5.serializers
from pydantic import ValidationError

from ..core import PlanInvalid, Reply, Request
from ..core.control import FACE
from .rights import LOOPBACK, Caller

MOST_BYTES = 4 * 2**20
"""Largest message; a list of `core.plan.MOST_POINTS` points fits."""


@Pyro5.api.expose
class Face:
    """The registered object.

    Parameters
    ----------
    answer
        Answers one request of a caller; called from many threads.
    """

    def __init__(self, answer: Callable[[Request, Caller], Reply]) -> None:
        self._answer = answer

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; both are dumps of `core.control` records."""
        try:
            asked = Request.model_validate(request)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return Reply(status="refused", error=PlanInvalid.__name__, message=f"not a request: {wrong}").model_dump()
        return self._answer(asked, LOOPBACK).model_dump()


@contextmanager
def shown(answer: Callable[[Request, Caller], Reply], port: int) -> Iterator[None]:
    """Answer clients on a control port of 127.0.0.1 until the context is left."""
    _speak_msgpack_only()
    with Pyro5.api.Daemon(host="127.0.0.1", port=port) as daemon:
        daemon.register(Face(answer), objectId=FACE)
        serving = threading.Thread(target=daemon.requestLoop, name="face")
        serving.start()
        try:
            yield
        finally:
            daemon.shutdown()
            serving.join()


def _speak_msgpack_only() -> None:
    """Remove every other serializer; Pyro would else accept any that a client names, marshal included."""
    settings = {"SERIALIZER": "msgpack", "SOCK_NODELAY": True, "MAX_MESSAGE_SIZE": MOST_BYTES}
    for name, value in settings.items():
        setattr(Pyro5.config, name, value)
    for name, serializer in list(Pyro5.serializers.serializers.items()):
        if name != "msgpack":
            del Pyro5.serializers.serializers[name]
            Pyro5.serializers.serializers_by_id.pop(serializer.serializer_id, None)
