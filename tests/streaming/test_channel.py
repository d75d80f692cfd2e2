"""The channel loses nothing, doubles nothing and always gets on, whatever the network does.

The simulation drives both state machines from one seed: messages are lost, doubled and
reordered, connections break, receivers die and come back. A failing seed replays.
"""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import numpy as np
import pytest

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd
from beamloop.streaming.channel import MOST_CREDIT, Incoming, Outgoing
from beamloop.streaming.loss import Loss
from beamloop.streaming.wire import (
    Batch,
    Begin,
    End,
    Hello,
    Knock,
    Lost,
    Message,
    Numbered,
    Received,
    Refused,
    Stored,
    Welcome,
)

BOUND_BYTES = 40_000


def _scan(scan_id: str, n: int = 8) -> Scan:
    axes = (Axis(name="index", size=n),)
    return Scan(
        scan_id=scan_id, measurement_id="m", receiver="edge", detector="d", scan_axes=axes, frame_axes=(),
        dtype="<u2", dwell_s=1.0,
    )  # fmt: skip


def _batch(scan_id: str, index: int = 0, size: int = 1) -> FrameBatch:
    return FrameBatch(scan_id, np.arange(index, index + size), np.zeros((size, 2)), np.zeros(size, "<u2"))


def _end(scan_id: str) -> ScanEnd:
    return ScanEnd(scan_id=scan_id, status="complete", n_frames=8)


def _flow(outgoing: Outgoing, incoming: Incoming) -> list[Numbered]:
    """Carry messages both ways over a perfect connection until both are silent."""
    delivered: list[Numbered] = []
    for _ in range(1000):
        up, down = incoming.due(flush=True), outgoing.due()
        for message in up:
            assert isinstance(message, Hello | Received | Stored)
            outgoing.hear(message)
        delivered += [got for message in down if (got := incoming.hear(message)) is not None]
        if not up and not down:
            return delivered
    raise AssertionError("two machines on a perfect connection never came to rest")


def _linked(credit: int = 8) -> tuple[Outgoing, Incoming]:
    outgoing, incoming = Outgoing(101, BOUND_BYTES), Incoming("edge", 11, credit)
    incoming.ask()
    _flow(outgoing, incoming)
    assert incoming.welcomed
    return outgoing, incoming


class World:
    """One sender, one receiver at a time, and a network that obeys a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loss, self.doubling, self.disorder = (self.rng.choice([0.0, 0.05, 0.3]) for _ in range(3))
        self.breaks, self.deaths = self.rng.choice([0.0, 0.02]), self.rng.choice([0.0, 0.01])
        self.outgoing = Outgoing(seed + 1, BOUND_BYTES)
        self.offered: list[object] = []
        self.archive: dict[int, object] = {}
        self.paused = 0
        self.born = 0
        self.revive()

    def revive(self) -> None:
        """Start a new receiver process: everything in its memory and on its wires is gone."""
        self.born += 1
        self.credit = self.rng.choice([1, 2, 7, 32])
        self.incoming = Incoming("edge", self.born, self.credit)
        self.memory: list[Numbered] = []
        self.taken: list[int] = []
        self.last: int | None = None
        self.up: list[Message] = []
        self.down: list[Message] = []
        self.incoming.ask()

    def offer(self) -> None:
        n = len(self.offered)
        content = (
            _scan(f"s{n // 10}")
            if n % 10 == 0
            else _end(f"s{n // 10}")
            if n % 10 == 9
            else _batch(f"s{n // 10}", n % 10)
        )
        if isinstance(content, FrameBatch) and not self.outgoing.has_room(content):
            self.paused += 1
            return
        self.offered.append(content)
        assert self.outgoing.offer(content) == len(self.offered)

    def carry(self, wire: list[Message], upward: bool, faults: bool) -> None:
        if not wire:
            return
        place = self.rng.randrange(len(wire)) if faults and self.rng.random() < self.disorder else 0
        message = wire.pop(place)
        if faults and self.rng.random() < self.loss:
            return
        if faults and self.rng.random() < self.doubling:
            wire.append(message)
        if upward:
            assert isinstance(message, Hello | Received | Stored)
            self.outgoing.hear(message)
        else:
            self.deliver(message)

    def deliver(self, message: Message) -> None:
        got = self.incoming.hear(message)
        if got is None:
            return
        expected = self.last + 1 if self.last is not None else got.seq
        assert got.seq == expected, "delivered out of order, doubled, or with a gap"
        assert all(seq in self.archive for seq in range(1, got.seq)) or self.last is not None, "started after a loss"
        content = got.scan if isinstance(got, Begin) else got.batch if isinstance(got, Batch) else got.end
        assert content is self.offered[got.seq - 1]
        self.last = got.seq
        self.memory.append(got)
        assert len(self.memory) <= self.credit

    def take(self) -> None:
        if self.memory:
            self.taken.append(self.memory.pop(0).seq)
            self.incoming.take(self.incoming.session)

    def store(self) -> None:
        for seq in self.taken:
            self.archive[seq] = self.offered[seq - 1]
        self.incoming.store(self.incoming.session, self.taken)
        self.taken = []

    def break_connection(self) -> None:
        self.up, self.down = [], []
        if self.rng.random() < 0.5:
            self.outgoing.unlink()
        self.incoming.hear(Knock())

    def emit(self, flush: bool) -> None:
        self.up += self.incoming.due(flush)
        self.down += self.outgoing.due()

    def step(self) -> None:
        chance = self.rng.random()
        if chance < self.deaths:
            self.revive()
        elif chance < self.deaths + self.breaks:
            self.break_connection()
        else:
            self.rng.choice([
                self.offer, self.offer, self.take, self.take, self.store, self.incoming.ask,
                lambda: self.carry(self.up, True, True), lambda: self.carry(self.up, True, True),
                lambda: self.carry(self.down, False, True), lambda: self.carry(self.down, False, True),
                lambda: self.carry(self.down, False, True),
            ])()  # fmt: skip
        if self.rng.random() < 0.7:
            self.emit(self.rng.random() < 0.5)
        assert self.outgoing.statistics().retained_bytes <= BOUND_BYTES + 2 * 1024 * len(self.offered)

    def calm(self) -> int:
        """Let the network be perfect; return the silences needed until all is stored."""
        for silences in range(200):
            for _ in range(10_000):
                self.emit(flush=True)
                if not (self.up or self.down or self.memory or self.taken):
                    break
                self.carry(self.up, True, False)
                self.carry(self.down, False, False)
                self.take()
                self.store()
            if self.outgoing.statistics().stored == len(self.offered):
                return silences
            self.incoming.ask()
        raise AssertionError("no progress after the faults stopped")


def test_a_thousand_faulty_schedules_lose_and_double_nothing_and_end_in_calm() -> None:
    seen = dict.fromkeys(("resent", "gaps", "duplicates", "stale", "deaths", "paused"), 0)
    for seed in range(1000):
        world = World(seed)
        try:
            for _ in range(world.rng.choice([50, 400])):
                world.step()
            silences = world.calm()
            assert silences <= 4
            assert list(world.archive) == sorted(world.archive) or world.born > 1
            assert set(world.archive) == set(range(1, len(world.offered) + 1))
            out, into = world.outgoing.statistics(), world.incoming.statistics()
            assert (out.retained, out.retained_bytes, out.forgotten) == (0, 0, 0)
            assert out.sent == len(world.offered)
            assert into.held == 0
            assert into.overrun == 0
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen["resent"] += out.resent
        seen["gaps"] += into.gaps
        seen["duplicates"] += into.duplicates
        seen["stale"] += into.stale
        seen["deaths"] += world.born - 1
        seen["paused"] += world.paused
    assert all(count > 50 for count in seen.values()), f"the schedules did not reach every fault: {seen}"


def test_the_same_seed_gives_the_same_history() -> None:
    histories = []
    for _ in range(2):
        world = World(17)
        for _ in range(400):
            world.step()
        histories.append((world.outgoing.statistics(), world.incoming.statistics()))
    assert histories[0] == histories[1]


def test_no_more_than_the_credit_is_sent_before_messages_are_taken() -> None:
    outgoing, incoming = _linked(credit=5)
    outgoing.offer(_scan("a"))
    for index in range(8):
        outgoing.offer(_batch("a", index))
    assert [message.seq for message in _flow(outgoing, incoming)] == [1, 2, 3, 4, 5]
    incoming.take(incoming.session, 3)
    assert [message.seq for message in _flow(outgoing, incoming)] == [6, 7, 8]


def test_a_receiver_of_boundless_credit_gets_no_more_than_the_sender_allows() -> None:
    outgoing = Outgoing(101, 1 << 30)
    outgoing.hear(Hello("edge", incarnation=1, link=1, credit=10**12))
    for index in range(MOST_CREDIT + 50):
        outgoing.offer(_batch("a", index))
    assert len(outgoing.due()) == 1 + MOST_CREDIT


def test_a_lost_tail_is_noticed_at_the_next_silence() -> None:
    outgoing, incoming = _linked()
    outgoing.offer(_scan("a"))
    outgoing.due()
    assert _flow(outgoing, incoming) == []
    incoming.ask()
    assert [message.seq for message in _flow(outgoing, incoming)] == [1]
    assert incoming.statistics().gaps == 1


def test_a_hello_repeated_on_the_same_link_resends_nothing() -> None:
    outgoing, incoming = _linked()
    outgoing.offer(_scan("a"))
    _flow(outgoing, incoming)
    for _ in range(5):
        incoming.ask()
        assert _flow(outgoing, incoming) == []
    assert outgoing.statistics().resent == 0


def test_a_lost_stored_is_made_good_by_the_next_hello() -> None:
    outgoing, incoming = _linked()
    outgoing.offer(_scan("a"))
    _flow(outgoing, incoming)
    incoming.take(incoming.session)
    incoming.store(incoming.session, [1])
    assert incoming.due() == [Stored(1, incoming.session)]
    incoming.ask()
    _flow(outgoing, incoming)
    assert outgoing.statistics().retained == 0


def test_what_is_stored_is_told_a_quarter_of_the_window_at_a_time_while_more_waits() -> None:
    outgoing, incoming = _linked(credit=16)
    for letter in "abcdefgh":
        outgoing.offer(_scan(letter))
    _flow(outgoing, incoming)
    incoming.take(incoming.session, 7)
    assert [type(message) for message in incoming.due()] == [Received]
    assert not any(incoming.store(incoming.session, [number]) for number in (1, 2, 3))
    assert incoming.owes
    assert incoming.due() == []
    assert incoming.store(incoming.session, [4])
    assert incoming.due() == [Stored(4, incoming.session)]
    incoming.store(incoming.session, [5])
    assert incoming.due(flush=True) == [Stored(5, incoming.session)]
    assert not incoming.owes


def test_what_is_stored_is_told_at_once_when_nothing_waits() -> None:
    outgoing, incoming = _linked(credit=32)
    outgoing.offer(_scan("a"))
    outgoing.offer(_scan("b"))
    _flow(outgoing, incoming)
    incoming.take(incoming.session)
    assert not incoming.store(incoming.session, [1])
    assert incoming.take(incoming.session)
    assert incoming.due() == [Stored(1, incoming.session)]


def test_an_older_hello_that_comes_late_does_not_rewind() -> None:
    outgoing, incoming = _linked()
    incoming.ask()
    late = _only_hello(incoming)
    incoming.hear(Knock())
    outgoing.offer(_scan("a"))
    assert len(_flow(outgoing, incoming)) == 1
    resent = outgoing.statistics().resent
    outgoing.hear(late)
    outgoing.offer(_end("a"))
    assert [message.seq for message in _flow(outgoing, incoming)] == [2]
    assert outgoing.statistics().resent == resent
    outgoing.unlink()
    outgoing.hear(late)
    assert (outgoing.linked, outgoing.due()) == (False, [])


def test_a_sender_that_lost_the_connection_first_goes_on_at_the_next_hello() -> None:
    outgoing, incoming = _linked()
    outgoing.unlink()
    outgoing.offer(_scan("a"))
    assert _flow(outgoing, incoming) == []
    incoming.ask()
    assert [message.seq for message in _flow(outgoing, incoming)] == [1]


def test_storing_what_was_asked_for_again_sends_the_rest_only() -> None:
    outgoing = Outgoing(101, BOUND_BYTES)
    outgoing.hear(Hello("edge", incarnation=1, link=1, credit=9))
    for index in range(3):
        outgoing.offer(_batch("a", index))
    outgoing.due()
    outgoing.hear(Hello("edge", incarnation=1, link=2, session=101, received=0, credit=9))
    outgoing.hear(Stored(2, 101))
    assert [message.seq for message in outgoing.due() if isinstance(message, Batch)] == [3]


def test_credit_once_given_is_not_taken_back_by_an_older_word() -> None:
    outgoing, incoming = _linked(credit=4)
    outgoing.hear(Received(0, 8, incoming.session))
    outgoing.hear(Received(0, 2, incoming.session))
    for index in range(8):
        outgoing.offer(_batch("a", index))
    assert len(outgoing.due()) == 8


def test_a_message_that_is_never_stored_holds_back_no_other() -> None:
    outgoing, incoming = _linked()
    for index in range(2000):
        outgoing.offer(_batch("a", index))
    for message in iter(functools.partial(_taken, outgoing, incoming), []):
        incoming.store(incoming.session, [got.seq for got in message if got.seq != 3])
    _flow(outgoing, incoming)
    assert (outgoing.statistics().stored, outgoing.statistics().retained) == (2, 1)
    incoming.store(incoming.session, [3])
    _flow(outgoing, incoming)
    assert (outgoing.statistics().stored, outgoing.statistics().retained) == (2000, 0)
    assert outgoing.statistics().invalid == 0


def _taken(outgoing: Outgoing, incoming: Incoming) -> list[Numbered]:
    got = _flow(outgoing, incoming)
    incoming.take(incoming.session, len(got))
    return got


def test_what_was_stored_beyond_is_not_sent_again_and_its_numbers_are_kept() -> None:
    outgoing, incoming = _linked()
    for content in (_scan("a"), _batch("a"), _scan("b"), _batch("b"), _end("b"), _batch("a", 1)):
        outgoing.offer(content)
    _flow(outgoing, incoming)
    incoming.store(incoming.session, [1, 3, 4, 5])
    _flow(outgoing, incoming)
    reborn = Incoming("edge", 12, 8)
    reborn.ask()
    got = _flow(outgoing, reborn)
    assert [message.seq for message in got] == [2, 3, 4, 5, 6]
    assert [len(message.batch.indices) for message in got if isinstance(message, Batch)] == [1, 0, 0, 0, 1]
    assert outgoing.statistics().retained == 2


def test_a_scan_whose_begin_alone_was_stored_beyond_is_announced_in_the_welcome() -> None:
    outgoing, incoming = _linked()
    for content in (_scan("a"), _scan("b"), _batch("b")):
        outgoing.offer(content)
    _flow(outgoing, incoming)
    incoming.store(incoming.session, [2])
    _flow(outgoing, incoming)
    outgoing.hear(Hello("edge", incarnation=12, link=1, credit=9))
    welcome = outgoing.due()[0]
    assert isinstance(welcome, Welcome)
    assert [scan.scan_id for scan in welcome.scans] == ["b"]
    assert welcome.first == 1


def test_a_lost_word_of_what_is_stored_beyond_is_made_good_by_the_next_hello() -> None:
    outgoing, incoming = _linked()
    for index in range(4):
        outgoing.offer(_batch("a", index))
    _flow(outgoing, incoming)
    incoming.store(incoming.session, [2, 4])
    assert [message for message in incoming.due() if isinstance(message, Stored)] == [
        Stored(0, incoming.session, ((2, 2), (4, 4)))
    ]
    incoming.ask()
    _flow(outgoing, incoming)
    assert outgoing.statistics().retained == 2


def test_a_damaged_message_is_asked_for_again_and_counted() -> None:
    outgoing, incoming = _linked()
    for index in range(3):
        outgoing.offer(_batch("a", index))
    first, _, third = outgoing.due()
    assert incoming.hear(first) is not None
    incoming.damaged()
    incoming.damaged()
    assert incoming.hear(third) is None
    assert [message.seq for message in _flow(outgoing, incoming)] == [2, 3]
    assert (incoming.statistics().damaged, incoming.statistics().links) == (2, 2)
    assert outgoing.statistics().resent == 2


def test_a_loss_comes_in_order_and_an_older_receiver_gets_its_number_without_frames() -> None:
    for reading, kind in (("record", Lost), ("", Batch)):
        outgoing = Outgoing(101, BOUND_BYTES)
        outgoing.hear(Hello("edge", incarnation=1, link=1, credit=9, reading=reading))
        for content in (_scan("a"), _batch("a"), Loss("a", 7, ((1, 7),)), _end("a")):
            outgoing.offer(content)
        third = [message for message in outgoing.due() if not isinstance(message, Welcome)][2]
        assert isinstance(third, kind)
        assert third.seq == 3
        if isinstance(third, Batch):
            assert (third.batch.scan_id, third.batch.frames.shape) == ("a", (0,))
        assert outgoing.statistics().lost == 7


def test_a_viewer_of_an_older_sender_is_told_to_install_the_same_version() -> None:
    incoming = Incoming("v", 11, 2, reading="live")
    incoming.hear(Welcome(5, 1, 1, 0))
    assert incoming.refused is not None
    assert incoming.refused.error == "ProtocolMismatch"
    assert "older" in incoming.refused.reason


def test_a_new_incarnation_gets_the_headers_of_scans_under_way() -> None:
    outgoing, incoming = _linked()
    outgoing.offer(_scan("a"))
    outgoing.offer(_batch("a", 0))
    _flow(outgoing, incoming)
    incoming.store(incoming.session, [1, 2])
    _flow(outgoing, incoming)
    outgoing.offer(_batch("a", 1))
    reborn = Incoming("edge", 12, 8)
    reborn.ask()
    outgoing.hear(_only_hello(reborn))
    welcome = outgoing.due()[0]
    assert isinstance(welcome, Welcome)
    assert welcome.first == 3
    assert [scan.scan_id for scan in welcome.scans] == ["a"]


def test_an_end_that_was_stored_closes_the_header() -> None:
    outgoing, incoming = _linked()
    outgoing.offer(_scan("a"))
    outgoing.offer(_end("a"))
    _flow(outgoing, incoming)
    assert not outgoing.idle
    incoming.store(incoming.session, [1, 2])
    _flow(outgoing, incoming)
    assert outgoing.idle


def test_a_late_hello_of_a_replaced_receiver_changes_nothing() -> None:
    outgoing, first = _linked()
    outgoing.offer(_scan("a"))
    _flow(outgoing, first)
    second = Incoming("edge", 12, 8)
    second.ask()
    assert [message.seq for message in _flow(outgoing, second)] == [1]
    first.hear(Knock())
    outgoing.hear(_only_hello(first))
    assert outgoing.due() == []
    assert (outgoing.displaced(11), outgoing.incarnation) == (True, 12)


def _only_hello(incoming: Incoming) -> Hello:
    (hello,) = incoming.due()
    assert isinstance(hello, Hello)
    return hello


def test_forget_drops_everything_and_the_receiver_starts_anew() -> None:
    outgoing, incoming = _linked(credit=2)
    outgoing.offer(_scan("a"))
    for index in range(5):
        outgoing.offer(_batch("a", index))
    assert len(_flow(outgoing, incoming)) == 2
    outgoing.forget(102)
    assert outgoing.statistics().forgotten == 6
    outgoing.offer(_scan("b"))
    (begin,) = _flow(outgoing, incoming)
    assert isinstance(begin, Begin)
    assert begin.scan.scan_id == "b"
    assert incoming.statistics().sessions == 2


def test_acknowledgements_of_a_forgotten_numbering_release_nothing() -> None:
    outgoing, incoming = _linked()
    outgoing.offer(_scan("a"))
    _flow(outgoing, incoming)
    old = incoming.session
    outgoing.forget(102)
    outgoing.offer(_scan("b"))
    _flow(outgoing, incoming)
    outgoing.hear(Stored(1, old))
    outgoing.hear(Received(1, 5, old))
    assert outgoing.statistics().stored == 0
    assert outgoing.statistics().retained == 1


@pytest.mark.parametrize("message", [Stored(5, 101), Received(5, 9, 101)])
def test_an_acknowledgement_of_what_was_never_sent_is_ignored_and_counted(message: Stored | Received) -> None:
    outgoing = Outgoing(101, BOUND_BYTES)
    outgoing.hear(Hello("edge", incarnation=1, link=1, credit=2))
    for index in range(5):
        outgoing.offer(_batch("a", index))
    assert [m.seq for m in outgoing.due() if isinstance(m, Batch)] == [1, 2]
    outgoing.hear(message)
    assert outgoing.due() == []
    assert outgoing.statistics().invalid == 1
    assert outgoing.statistics().retained == 5


def test_a_receiver_drops_what_comes_without_credit() -> None:
    outgoing, incoming = _linked(credit=1)
    outgoing.offer(_scan("a"))
    (begin,) = _flow(outgoing, incoming)
    assert incoming.hear(replace(begin, seq=2, session=incoming.session)) is None
    assert incoming.statistics().overrun == 1


def test_a_refused_receiver_says_nothing_more() -> None:
    _, incoming = _linked()
    incoming.hear(Refused("taken"))
    incoming.ask()
    assert incoming.due(flush=True) == []
    assert incoming.refused == Refused("taken")


def test_nothing_a_hostile_receiver_says_breaks_the_sender() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        outgoing = Outgoing(5, BOUND_BYTES)
        few = functools.partial(rng.choice, [0, 1, 2, 3, 5, 8, 10**9])
        for n in range(60):
            outgoing.offer(rng.choice([_scan(f"s{n}"), _batch("a"), _end(f"s{rng.randrange(60)}")]))
            outgoing.hear(
                rng.choice([
                    Hello("edge", 1, few(), few(), rng.choice([0, 5]), few(), few(), few()),
                    Received(few(), few(), rng.choice([0, 5])),
                    Stored(few(), rng.choice([0, 5])),
                ])
            )  # fmt: skip
            numbered = [message.seq for message in outgoing.due() if isinstance(message, Begin | Batch | End)]
            assert numbered == list(range(numbered[0], numbered[0] + len(numbered))) if numbered else True
        counted = outgoing.statistics()
        assert counted.retained == counted.offered - counted.stored


def test_nothing_a_hostile_sender_says_breaks_the_receiver_or_passes_its_credit() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        incoming = Incoming("edge", 3, 4)
        held: list[int] = []
        few = functools.partial(rng.choice, [0, 1, 2, 3, 5, 8, 10**9])
        for _ in range(80):
            session = incoming.session
            got = incoming.hear(
                rng.choice([
                    Knock(), Welcome(1 + few(), few(), 1 + few(), few()),
                    Welcome(1, incoming.statistics().links, 1, few()),
                    Begin(1 + few(), _scan("a"), few(), few()), Batch(1 + few(), _batch("a"), 1, few()),
                    End(incoming.statistics().received + 1, _end("a"), session, incoming.statistics().links),
                ])
            )  # fmt: skip
            held = held if incoming.session == session else []
            held += [got.seq] if got is not None else []
            assert incoming.statistics().held == len(held) <= 4
            if held and rng.random() < 0.3:
                incoming.take(incoming.session)
                incoming.store(incoming.session, [held.pop(0)])
            incoming.due(flush=rng.random() < 0.5)
