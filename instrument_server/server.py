"""The server process: the desk and its face, with guard and driver started beside it.

Order matters. The guard comes first and leaves last, so there is no moment with a driver
and without a guard.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import zmq

from .. import __version__
from ..core import Blanker, DriverFailed, InstrumentInfo
from ..core.control import FRAMES_OFFSET, GUARD_OFFSET
from ..core.limits import Limits
from ..core.registry import BLANKERS, find
from .answers import Answers
from .audit import Audit
from .children import child
from .desk import Desk
from .driver import DriverOrders
from .driver_link import DriverLink
from .face import shown
from .guard_line import GuardLine
from .guard_process import GuardOrders
from .lease import Lease
from .ports import free_port
from .settings import ServerSettings

BEAT_S = 0.1
READY_S = 60.0


@contextmanager
def serving(settings: ServerSettings, folder: Path) -> Iterator[tuple[InstrumentInfo, int]]:
    """Serve an instrument until the context is left; yield what it is and its control port.

    Parameters
    ----------
    settings
        What to serve.
    folder
        Where answers, audit, the children's complaints and the blanker line live; made if missing.

    Raises
    ------
    BeamloopError
        If the instrument cannot be made, or port or folder are in use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, token, plugin = free_port(settings.port), secrets.token_hex(16), settings.instrument
    with ExitStack() as stack:
        answers = Answers(folder / "answers.sqlite", settings.durability or "power")
        stack.callback(answers.close)
        audit = Audit(folder / "audit.jsonl")
        stack.callback(audit.close)
        for request_id in answers.interrupted():
            audit.note("interrupted", request=request_id)
        guard_orders = GuardOrders(
            port=port + GUARD_OFFSET, token=token, folder=folder, blanker=plugin.blanker, silence_s=settings.silence_s
        )
        complaints = folder / "guard.log"
        guard = stack.enter_context(child("beamloop.instrument_server.guard_process", guard_orders, complaints))
        guard_endpoint = _first_line(guard, complaints)["private"]
        context = zmq.Context()
        stack.callback(context.destroy, linger=0)
        line = GuardLine(context, guard_endpoint, token, "server", lambda: guard.poll() is None)
        desk_ready: list[Desk] = []
        link = DriverLink(context, lambda message: desk_ready[0].ended(message))
        stack.callback(link.close)
        driver_orders = DriverOrders(
            commands=link.commands_endpoint, events=link.events_endpoint, guard=guard_endpoint, token=token,
            frames_port=port + FRAMES_OFFSET, folder=folder, blanker=plugin.blanker, plugin=plugin.plugin,
            settings=plugin.settings,
        )  # fmt: skip
        driver = stack.enter_context(child("beamloop.instrument_server.driver", driver_orders, folder / "driver.log"))
        stack.callback(link.dismiss)
        facts = link.ready(driver, READY_S)
        info = InstrumentInfo.model_validate(facts["info"])
        answers.promise(settings.durability or ("power" if info.source == "hardware" else "process"))
        blanker: Blanker = find(BLANKERS, plugin.blanker)(folder)
        desk = Desk(
            __version__, info, Limits(info, settings.limits), link, line, Lease(settings.lease_s), answers, audit,
            blanker.close,
        )  # fmt: skip
        desk.heard(facts)
        desk_ready.append(desk)
        audit.note("serving", instrument=info.name, source=info.source, port=port)
        stack.callback(audit.note, "closing")
        stack.enter_context(_beating(desk))
        stack.enter_context(shown(desk.answer, port))
        yield info, port


def _first_line(process: subprocess.Popen[str], complaints: Path) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        last = complaints.read_text().strip().splitlines()[-1:]
        raise DriverFailed(f"the guard process ended before it was ready: {' '.join(last)} (see {complaints})")
    return json.loads(line)


@contextmanager
def _beating(desk: Desk) -> Iterator[None]:
    """Call the desk's beat until the context is left."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_S):
            desk.beat()

    thread = threading.Thread(target=beat, name="beat")
    thread.start()
    yield
    done.set()
    thread.join()
