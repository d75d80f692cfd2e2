"""The driver process: holds the instrument plugin, does one thing after another, sends frames.

It may hang or die with its vendor's code; server and guard live elsewhere. Commands come from
the server one at a time; an acquisition runs to its end, and between batches looks whether the
guard has called a halt. Moves are told to the guard's line, which can end them. A second thread
only beats to the guard.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import zmq

from ..core import (
    Acquisition,
    BeamBlanked,
    BeamloopError,
    Blanker,
    ChannelClosed,
    DriverFailed,
    FrameBatch,
    Frozen,
    Instrument,
    MotionHalted,
    Scan,
    ScanEnd,
    SetParameters,
    plan_from,
)
from ..core.registry import BLANKERS, INSTRUMENTS, find
from ..streaming.runs import Runs, runs_of, told
from ..streaming.sender import Sender
from .guard.line import GuardLine
from .keys.armouring import armour_for
from .processes.orders import take_orders
from .processes.post import pack, unpack
from .processes.word_home import WordHome
from .settings import FrameBounds

BEAT_S = 0.05
TELL_S = 1.0
"""How often the server hears what a paused source waits for."""

LOG = logging.getLogger(__name__)


class DriverOrders(Frozen):
    """What a driver is told when it starts, as one line of JSON on its standard input."""

    commands: str
    events: str
    guard: str
    token: str
    frames_port: int
    listen: str
    keys: Path | None
    folder: Path
    blanker: str
    plugin: str
    settings: dict[str, Any]
    frames: FrameBounds = FrameBounds()


class Driver:
    """Does what the server asks with one instrument. Called from one thread.

    Parameters
    ----------
    instrument
        The plugin.
    sender
        Where its frames go.
    gone
        Set when the server has left.
    tell
        Takes facts for the server while a scan runs.
    line
        The guard's line to beam and motion.
    reopen
        Asks the guard to open the beam again for the scan under way, and tells whether it did.

    Attributes
    ----------
    acquiring
        Whether a scan is under way.
    halted
        The guard has called a halt to every scan up to this number; set from another thread.
    stopping_time_s
        Within which the instrument is at rest after a stop.
    """

    def __init__(
        self,
        instrument: Instrument,
        sender: Sender,
        gone: threading.Event,
        tell: Callable[[Mapping[str, Any]], None],
        line: Blanker,
        reopen: Callable[[], bool],
    ) -> None:
        self._instrument, self._sender, self._gone = instrument, sender, gone
        self._tell, self._line, self._reopen = tell, line, reopen
        info = instrument.describe()
        self.stopping_time_s, self._blanks_between = info.stopping_time_s, info.blanks_between
        line.moves(False)
        self._number = 0
        self._told_s: float | None = None
        self._dimmed = False
        self.acquiring = False
        self.halted = 0

    def must_end(self) -> bool:
        """Tell whether the scan under way must end after the batch in hand."""
        return self._number <= self.halted or self._gone.is_set()

    def describe(self) -> dict[str, Any]:
        """Return the instrument's description and its present state."""
        return {"info": self._instrument.describe().model_dump(), **self.state()}

    def state(self) -> dict[str, Any]:
        """Return the instrument's present state."""
        return {
            "parameters": {parameter.name: parameter.value for parameter in self._instrument.describe().parameters},
            "clock_s": self._instrument.now_s(),
            "dose_electrons": self._instrument.dose_electrons(),
        }

    def set(self, plan: SetParameters) -> dict[str, Any]:
        """Set parameters; return how long it took and the state after it."""
        return {"duration_s": self._moved(plan.values), **self.state()}

    def _moved(self, values: Mapping[str, float]) -> float:
        # Said first and looked at second: the guard halts first and looks second, so one of the two sees the other.
        self._line.moves(True)
        try:
            if self._line.is_halted():
                raise MotionHalted("nothing was set: the instrument is stopped; arm it to go on")
            duration_s = self._instrument.write(values)
        except BeamloopError:
            self._line.moves(False)
            raise
        # What a vendor's code raised says nothing of what moves: the line goes on saying that something may.
        self._line.moves(False)
        return duration_s

    def begin(self, plan: Acquisition, number: int, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        """Announce a scan to its receiver and return its header; `number` is the guard's for it."""
        self._number, self._dimmed = number, False
        scan = self._instrument.begin(plan, scan_id, measurement_id, receiver)
        info = self._instrument.describe()
        # An expectation is computed and can always wait.
        pausable = scan.expected or all(d.pausable for d in info.detectors if d.name == scan.detector)
        self._sender.begin(scan, pausable)
        self.acquiring = True
        return scan

    def expose(self, plan: Acquisition, scan: Scan) -> ScanEnd:
        """Acquire and send the frames of a scan that was begun; return how it ended.

        Whatever the plugin raises ends the scan as failed, with its words as the reason.
        """
        started_s, dose, wall_s = self._instrument.now_s(), self._instrument.dose_electrons(), time.perf_counter()
        sent, lost, status, reason = 0, Runs(), "complete", ""
        try:
            for batch in self._instrument.frames(plan, scan):
                if self._send(batch, scan.receiver):
                    sent += len(batch.indices)
                else:
                    for run in runs_of(batch.indices):
                        lost.add(*run)
                if self.must_end():
                    raise BeamBlanked("the guard called a halt")
                if self._dimmed and sent + len(lost) < scan.n_frames:
                    self._go_on()
            if sent + len(lost) != scan.n_frames:
                raise DriverFailed(f"it gave {sent + len(lost)} frames and ended, {scan.n_frames} were announced")
        except (BeamBlanked, ChannelClosed) as error:
            status, reason = ("complete", "") if sent + len(lost) == scan.n_frames else ("stopped", str(error))
        except Exception as error:  # the border to vendor code: report it, and the driver lives on
            LOG.exception("scan %s failed", scan.scan_id)
            status, reason = "failed", f"{type(error).__name__}: {error}"
        finally:
            self.acquiring = False
        if lost:
            lacks = f"lacks frames {told(lost.pairs())}: {scan.detector} cannot wait, and nobody took them in time"
            status, reason = "failed" if status == "complete" else status, f"{reason}; {lacks}".removeprefix("; ")
        end = ScanEnd(
            scan_id=scan.scan_id, status=status, n_frames=sent, reason=reason,
            electrons=self._instrument.dose_electrons() - dose,
            duration_s=self._instrument.now_s() - started_s,
            produced_s=time.perf_counter() - wall_s,
        )  # fmt: skip
        self._sender.end(end)
        return end

    def _send(self, batch: FrameBatch, receiver: str) -> bool:
        """Send frames, and tell the server while they wait; False if they were lost."""
        taken = self._sender.send(batch, lambda: self._waiting(receiver))
        if self._told_s is not None:
            self._told_s = None
            self._tell({"frames_wait": ""})
        return taken

    def _waiting(self, receiver: str) -> bool:
        if self._blanks_between and self._line.is_open():
            # Between two batches nothing is measured, and the place under the probe would take dose for nothing.
            self._line.close()
            self._dimmed = True
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            self._tell({"frames_wait": f"{receiver!r}: {self._sender.waits_for(receiver)}"})
        return self.must_end()

    def _go_on(self) -> None:
        self._dimmed = False
        if not self._reopen():
            raise BeamBlanked("the guard did not open the beam again, which was blanked while frames waited")

    def answers(self, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Do what one message asks; yield the answer, and for an acquisition its end later."""
        verb = message["verb"]
        if verb == "describe":
            yield {"value": self.describe()}
        elif verb == "lapse":
            self._sender.lapse(message["receiver"])
            yield {"value": {}}
        else:
            plan = plan_from(message["plan"])
            if isinstance(plan, SetParameters):
                yield {"value": self.set(plan)}
            else:
                names = (message[key] for key in ("scan", "scan_id", "measurement_id", "receiver"))
                scan = self.begin(plan, *names)
                yield {"value": {"scan": scan.model_dump()}}
                yield {"ended": self.expose(plan, scan).model_dump(), **self.state()}


def obey(driver: Driver, commands: zmq.Socket, events: zmq.Socket, gone: threading.Event) -> None:
    """Carry out the server's commands, one after another, until it says close or is gone."""
    while not gone.is_set():
        if not commands.poll(200):
            continue
        message = unpack(commands.recv())
        if message["verb"] == "close":
            return
        number = message["number"]
        try:
            for answer in driver.answers(message):
                events.send(pack({"number": number, **answer}))
        except BeamloopError as error:
            events.send(pack({"number": number, "error": type(error).__name__, "message": str(error)}))
        except Exception as error:  # the border to vendor code: report it, and the driver lives on
            LOG.exception("%s failed", message["verb"])
            told = f"the driver raised {type(error).__name__}: {error}"
            events.send(pack({"number": number, "error": DriverFailed.__name__, "message": told}))


def beat(line: GuardLine, driver: Driver, done: threading.Event, blank: Callable[[], None]) -> None:
    """Tell the guard that this process lives, and pass its call to halt on; blank where the guard is silent.

    The server blanks then too, unless it is silent as well.
    """
    while not done.wait(BEAT_S):
        facts = line.say("beat", acquiring=driver.acquiring, stopping_time_s=driver.stopping_time_s)
        if facts is None:
            blank()
        else:
            driver.halted = facts["halted"]


def _reopened(line: GuardLine) -> bool:
    facts = line.say("reopen")
    return facts is not None and facts.get("open") is True


def drive(orders: DriverOrders, gone: threading.Event, turned_away: Callable[[str, str], None]) -> None:
    """Make the instrument and serve it until told to close; `turned_away` hears who was refused frames, and why."""
    blanker: Blanker = find(BLANKERS, orders.blanker)(orders.folder)
    done = threading.Event()
    context = zmq.Context()
    commands, events = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    events.linger = 500
    commands.connect(orders.commands)
    events.connect(orders.events)
    instrument = _made(orders, blanker, events)
    if instrument is None:
        context.destroy()
        return
    line = GuardLine(context, orders.guard, orders.token, "driver")
    armour, bounds = armour_for("frames", orders.keys, turned_away), orders.frames
    with Sender(
        f"tcp://{orders.listen}:{orders.frames_port}", bounds.memory_bytes, spill_bytes=bounds.disk_bytes,
        spill_folder=orders.folder / "frames", reader_bytes=bounds.reader_bytes, viewer_bytes=bounds.viewer_bytes,
        armour=armour,
    ) as sender:  # fmt: skip

        def tell(facts: Mapping[str, Any]) -> None:
            events.send(pack({"told": facts}))

        driver = Driver(instrument, sender, gone, tell, blanker, lambda: _reopened(line))
        beats = threading.Thread(target=beat, args=(line, driver, done, blanker.close), name="beat")
        beats.start()
        try:
            # The guard must have heard the driver before anybody asks for the beam.
            line.say("beat", acquiring=False, stopping_time_s=driver.stopping_time_s)
            events.send(pack({"ready": True, **driver.describe()}))
            obey(driver, commands, events, gone)
        finally:
            blanker.close()
            done.set()
            beats.join()
            instrument.close()
    context.destroy()


def _made(orders: DriverOrders, blanker: Blanker, events: zmq.Socket) -> Instrument | None:
    """Make the instrument; if that fails, tell the server why and return None."""
    try:
        return find(INSTRUMENTS, orders.plugin)(orders.settings, blanker)
    except BeamloopError as error:
        events.send(pack({"failed": type(error).__name__, "message": str(error)}))
    except Exception as error:  # the border to vendor code: report it
        LOG.exception("plugin %s could not be made", orders.plugin)
        told = f"plugin {orders.plugin!r} could not be made: {type(error).__name__}: {error}"
        events.send(pack({"failed": DriverFailed.__name__, "message": told}))
    return None


def main() -> None:
    """Take the orders from standard input and drive."""
    logging.basicConfig(format="%(asctime)s driver: %(message)s")
    drive(*take_orders(DriverOrders), WordHome().tell)


if __name__ == "__main__":
    main()
