"""The server process: the desk and its face, with guard and driver started beside it.

Order matters. The guard comes first and leaves last, so there is no moment with a driver
and without a guard.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import zmq

from .. import __version__
from ..core import Blanker, DriverFailed, InstrumentInfo, LimitRefused, PointScan, Request, SettingsInvalid
from ..core.control import FRAMES_OFFSET, GUARD_OFFSET
from ..core.limits import Limits
from ..core.registry import BLANKERS, find
from ..core.storage import Durability
from .answers import Answers
from .audit import Audit
from .desk import Desk
from .dose import Dose
from .dose.budget import cell_of, is_countable
from .dose.parked import ParkedBeam
from .dose.store import DoseStore
from .driver import DriverOrders
from .driver_link import DriverLink, Living
from .face import shown
from .guard.line import GuardLine
from .guard.process import GuardOrders
from .guard.proofs import Proofs
from .guard.proving import Chain
from .housed import housed
from .keys.key_list import Key, KeyList
from .keys.place import Place
from .keys.turned_away import TurnedAway
from .keys.watching import watched
from .lease.lease import Lease
from .lease.local_switch import LocalSwitch
from .limits.interlock import Interlock
from .processes.children import child
from .processes.ports import free_port
from .processes.word_home import hear
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
    keys, listen = _keys(settings), str(settings.listen)
    folder.mkdir(parents=True, exist_ok=True)
    port, token, plugin = free_port(settings.port, listen), secrets.token_hex(16), settings.instrument
    with ExitStack() as stack:
        answers = Answers(folder / "answers.sqlite", settings.durability or "power")
        stack.callback(answers.close)
        audit = Audit(folder / "audit.jsonl", settings.durability or "power")
        stack.callback(audit.close)
        turned_away = TurnedAway(audit.note)
        stack.callback(turned_away.flush)
        for request_id in answers.interrupted():
            audit.note("interrupted", request=request_id)
        guard_orders = GuardOrders(
            port=port + GUARD_OFFSET, listen=listen, keys=settings.keys, token=token, folder=folder,
            blanker=plugin.blanker, silence_s=settings.silence_s,
        )  # fmt: skip
        complaints = folder / "guard.log"
        guard = stack.enter_context(child("beamloop.instrument_server.guard.process", guard_orders, complaints))
        guard_endpoint = _first_line(guard, complaints)["private"]
        hear(guard, complaints, partial(turned_away.tell, "guard"))
        context = zmq.Context()
        stack.callback(context.destroy, linger=0)
        line = GuardLine(context, guard_endpoint, token, "server", lambda: guard.poll() is None)
        desk_ready: list[Desk] = []
        link = DriverLink(
            context, lambda message: desk_ready[0].ended(message), lambda facts: desk_ready[0].told(facts)
        )
        stack.callback(link.close)
        driver_orders = DriverOrders(
            commands=link.commands_endpoint, events=link.events_endpoint, guard=guard_endpoint, token=token,
            frames_port=port + FRAMES_OFFSET, listen=listen, keys=settings.keys, folder=folder,
            blanker=plugin.blanker, plugin=plugin.plugin, settings=plugin.settings, frames=settings.frames,
        )  # fmt: skip
        driver = stack.enter_context(
            _driver(driver_orders, settings.processes == "one", partial(turned_away.tell, "frames"))
        )
        stack.callback(link.dismiss)
        facts = link.ready(driver, READY_S)
        info = InstrumentInfo.model_validate(facts["info"]).model_copy(update={"processes": settings.processes})
        durability: Durability = settings.durability or ("power" if info.source == "hardware" else "process")
        answers.promise(durability)
        audit.promise(durability)
        blanker: Blanker = find(BLANKERS, plugin.blanker)(folder)
        interlock = stack.enter_context(_interlock(info, settings, folder, durability, audit))
        proofs = _proofs(info, settings, folder, line, blanker, interlock, lambda: desk_ready[0].state().parameters)
        desk = Desk(
            __version__, info, interlock, link, line, Lease(settings.lease_s), answers, audit, blanker.close,
            switch=LocalSwitch(folder), proofs=proofs,
        )  # fmt: skip
        desk.heard(facts)
        desk_ready.append(desk)
        audit.note("serving", instrument=info.name, source=info.source, port=port)
        stack.callback(desk.minutes.mark, "closing")
        # Who leaves no longer sees a guard die, and a driver that hangs may keep it from leaving.
        stack.callback(blanker.close)
        stack.enter_context(_beating(desk))
        if keys is not None:
            stack.enter_context(_watched(keys, desk))
        stack.enter_context(shown(desk.answer, (listen, port), keys, partial(turned_away.tell, "control")))
        yield info, port


@contextmanager
def _driver(orders: DriverOrders, here: bool, turned_away: Callable[[str, str], None]) -> Iterator[Living]:
    """Run the driver: here, or as it should be in a process of its own."""
    if here:
        with housed(orders, turned_away) as guest:
            yield guest
        return
    complaints = orders.folder / "driver.log"
    with child("beamloop.instrument_server.driver", orders, complaints) as process:
        hear(process, complaints, turned_away)
        yield process


@contextmanager
def _interlock(
    info: InstrumentInfo, settings: ServerSettings, folder: Path, durability: Durability, audit: Audit
) -> Iterator[Interlock]:
    """Give the limits and the dose of an instrument, with what outlived the last server."""
    limits, dose = Limits(info, settings.limits, settings.rules), None
    with ExitStack() as stack:
        if is_countable(info, settings.dose):
            store = DoseStore(folder / "dose.sqlite", cell_of(info, settings.dose), durability)
            stack.callback(store.close)
            for scan_id in store.unsettled:
                audit.note("dose charged in full", scan=scan_id, why="nobody knows how it ended")
            dose = Dose(info, settings.dose, store)
        interlock = Interlock(limits, dose, folder / "limits.json")
        for told in interlock.dropped:
            audit.note("restriction dropped", why=told)
        yield interlock


def _proofs(
    info: InstrumentInfo, settings: ServerSettings, folder: Path, line: GuardLine, blanker: Blanker,
    interlock: Interlock, values: Callable[[], Mapping[str, float]],
) -> Proofs:  # fmt: skip
    """Return what proves the chain from the guard to beam and motion, and that the limits refuse."""
    opens = info.source != "hardware" if settings.proof_opens is None else settings.proof_opens
    detector, field = info.detectors[0], info.field
    too_long = PointScan(detector=detector.name, points=((field.y_m, field.x_m),), dwell_s=2 * detector.longest_dwell_s)

    def refuses() -> str:
        try:
            interlock.limits.check(too_long)
        except LimitRefused as refusal:
            return str(refusal)
        return ""

    chain = Chain(line, blanker, refuses, opens, time.monotonic, time.sleep)
    return Proofs(chain, settings.proof_hours, folder / "proof.json", parked=_parked(info, opens, interlock, values))


def _parked(
    info: InstrumentInfo, opens: bool, interlock: Interlock, values: Callable[[], Mapping[str, float]]
) -> ParkedBeam | None:
    """Return what charges the beam of a proof; None where it falls on no specimen, or nobody can count it."""
    if info.source != "hardware" or not opens or interlock.dose is None:
        return None
    if interlock.dose.settings.parked_m is None:
        raise SettingsInvalid(
            "proof_opens = true exposes what lies under the parked probe before each run; say where that is, so that "
            "its dose is counted: dose.parked_m = [y, x], scan coordinates in metres"
        )
    return ParkedBeam(interlock.dose, values)


def _keys(settings: ServerSettings) -> KeyList | None:
    """Return the keys that let clients in; None without any, when only this computer may connect."""
    if settings.keys is not None:
        Place(settings.keys).require()
        return KeyList(Place(settings.keys))
    if not settings.listen.is_loopback:
        raise SettingsInvalid(
            f"listen = {str(settings.listen)!r} was asked for without keys; other computers are let in with keys only: "
            "make them ('beamloop keys init') and set keys = FOLDER"
        )
    return None


def _watched(keys: KeyList, desk: Desk) -> AbstractContextManager[None]:
    """Note what changes in the list of keys, and take the lease from whoever is not on it any more."""

    def changed(listed: tuple[Key, ...]) -> None:
        desk.minutes.mark("keys changed", listed={key.name: key.role for key in listed})

    def dismiss(holder: str) -> None:
        desk.answer(Request(request_id=f"dismissed-{secrets.token_hex(4)}", client=holder, verb="release"))
        desk.minutes.mark("lease taken away", holder=holder, reason="its key is revoked or expired")

    def holder() -> str:
        lease = desk.state().lease
        return "" if lease is None else lease.holder

    return watched(keys, changed, holder, dismiss)


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
