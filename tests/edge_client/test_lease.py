"""The lease as clients see it, over real processes: waited for, handed over, broken; others' frames undisturbed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import typer

from beamloop.core import BeamBlanked, LeaseHeld, LeaseInfo, LeaseTaken, PlanInvalid, UnknownName
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.commands.lease import Word, lease
from beamloop.streaming.receiver import Receiver

WAIT_S = 20.0


@pytest.fixture
def ada(simulator: str) -> Iterator[RemoteInstrument]:
    with connect(simulator, purpose="a map") as ada:
        yield ada


@pytest.fixture
def bob(simulator: str) -> Iterator[RemoteInstrument]:
    with connect(simulator) as bob:
        yield bob


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


class Waiter:
    """Somebody in the queue, in a thread."""

    def __init__(self, instrument: RemoteInstrument, timeout_s: float | None = None) -> None:
        self.told: list[tuple[str, int]] = []
        self.lease: LeaseInfo | LeaseHeld | None = None
        self._instrument, self._timeout_s = instrument, timeout_s
        self.thread = threading.Thread(target=self._wait)
        self.thread.start()

    def _wait(self) -> None:
        try:
            self.lease = self._instrument.wait_for_lease("my turn", self._timeout_s, self._saw)
        except LeaseHeld as refusal:
            self.lease = refusal

    def _saw(self, lease: LeaseInfo, place: int) -> None:
        self.told.append((lease.holder, place))


def queue(instrument: RemoteInstrument) -> list[str]:
    lease = instrument.state().lease
    return [] if lease is None else [waiting.client for waiting in lease.queue]


def test_who_waits_gets_the_lease_when_it_is_given_back_and_keeps_it(
    ada: RemoteInstrument, bob: RemoteInstrument
) -> None:
    waiter = Waiter(bob)
    until(lambda: queue(ada) == [bob.client])
    ada.release()
    waiter.thread.join(WAIT_S)
    assert isinstance(waiter.lease, LeaseInfo)
    assert (waiter.lease.holder, waiter.told) == (bob.client, [(ada.client, 1)])
    assert bob.move(defocus_m=0.0) >= 0
    assert bob.lease_lost() is None
    bob.release()


def test_who_has_waited_long_enough_leaves_the_queue(ada: RemoteInstrument, bob: RemoteInstrument) -> None:
    waiter = Waiter(bob, timeout_s=0.3)
    waiter.thread.join(WAIT_S)
    assert isinstance(waiter.lease, LeaseHeld)
    assert "left the queue at place 1" in str(waiter.lease)
    assert queue(ada) == []


def test_a_lease_is_handed_over_to_who_waits(ada: RemoteInstrument, bob: RemoteInstrument) -> None:
    waiter = Waiter(bob)
    until(lambda: queue(ada) == [bob.client])
    given = ada.hand_over(bob.client)
    waiter.thread.join(WAIT_S)
    assert (given.holder, given.how) == (bob.client, f"handed over by {ada.client}")
    with pytest.raises(LeaseTaken, match="was handed over to"):
        ada.move(defocus_m=0.0)
    bob.hand_over(ada.client)
    assert ada.take_lease("back again").holder == ada.client
    assert ada.move(defocus_m=0.0) >= 0


def test_a_broken_lease_halts_the_scan_and_tells_its_owner_who_and_why_and_it_may_be_taken_again(
    ada: RemoteInstrument, bob: RemoteInstrument
) -> None:
    with pytest.raises(PlanInvalid, match="needs a reason"):
        bob.take_lease("mine", break_glass="  ")
    caught: list[BaseException] = []

    def scan() -> None:
        try:
            ada.scan("diffraction", (64, 64), 1e-3)
        except (BeamBlanked, LeaseTaken) as error:
            caught.append(error)

    scanning = threading.Thread(target=scan)
    scanning.start()
    until(lambda: ada.state().activity == "acquiring")
    assert bob.take_lease("rescue", break_glass="vacuum alarm").holder == bob.client
    scanning.join(WAIT_S)
    assert "by break-glass, saying: vacuum alarm" in str(caught[0])
    until(lambda: isinstance(ada.lease_lost(), LeaseTaken))
    bob.release()
    ada.take_lease("again")
    assert ada.lease_lost() is None
    until(lambda: ada.state().activity == "idle")
    assert ada.points("haadf", [(2e-8, 3e-8)], 1e-4).data.shape == (1,)


def test_connecting_and_leaving_changes_nothing(ada: RemoteInstrument, simulator: str) -> None:
    ada.move(defocus_m=30e-9)
    before = ada.state()
    for _ in range(3):
        with connect(simulator) as looking:
            assert looking.read("defocus_m") == 30e-9
            assert looking.guard().beam == "confirmed"
    after = ada.state()
    assert after.parameters == before.parameters
    assert (after.activity, after.beam, after.dose_electrons) == (before.activity, before.beam, before.dose_electrons)
    assert after.lease is not None
    assert after.lease.holder == ada.client
    ada.move(defocus_m=0.0)


def test_a_receiver_without_the_lease_disturbs_nobodys_frames(ada: RemoteInstrument) -> None:
    receivers = [Receiver(ada.address.frames, f"onlooker {number}") for number in range(5)]
    try:
        picture = ada.scan("haadf", (32, 32), 1e-6)
    finally:
        for receiver in receivers:
            receiver.close()
    assert picture.data.shape == (32, 32)
    assert ada.scan("haadf", (32, 32), 1e-6).data.shape == (32, 32)


def test_a_client_that_comes_back_under_its_name_is_not_answered_what_it_asked_before(simulator: str) -> None:
    for purpose in ("first", "second"):
        with connect(simulator, purpose=purpose, name="the same") as instrument:
            lease = instrument.state().lease
            assert lease is not None
            assert lease.purpose == purpose
            instrument.arm()


def test_the_command_shows_gives_and_says_what_is_wrong(
    ada: RemoteInstrument, bob: RemoteInstrument, simulator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.BadParameter, match="needs --to"):
        lease(simulator, Word.give)
    with pytest.raises(typer.BadParameter, match="needs --reason"):
        lease(simulator, Word.break_)
    with pytest.raises(UnknownName, match="nobody named 'bbo' waits"):
        lease(simulator, Word.give, to="bbo")
    waiter = Waiter(bob)
    until(lambda: queue(ada) == [bob.client])
    lease(simulator)
    told = capsys.readouterr().out
    assert f"lease: {ada.client} (a map), expires in" in told
    assert f"  1. in the queue: {bob.client} (my turn)" in told
    lease(simulator, Word.give, to=bob.client)
    waiter.thread.join(WAIT_S)
    assert isinstance(waiter.lease, LeaseInfo)
    lease(simulator, as_json=True)
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (facts["lease"]["holder"], facts["local"], facts["interrupted"]) == (bob.client, None, [])
    bob.release()
    with pytest.raises(LeaseHeld, match="nothing to give"):
        lease(simulator, Word.give, to="ada")
