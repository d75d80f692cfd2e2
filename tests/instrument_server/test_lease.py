"""The lease: one holder, visible, gone when silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from beamloop.core import LeaseHeld, LeaseTaken, UnknownName
from beamloop.instrument_server.lease.lease import MOST_CLAIMS, Lease

from ..faults.amount import amount


def test_only_one_client_holds_it_and_the_refusal_names_the_holder() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "strain map", now_s=0.0)
    with pytest.raises(LeaseHeld, match=r"held by ada \(strain map\) and expires in 3.0 s"):
        lease.take("bob", "", now_s=2.0)
    with pytest.raises(LeaseHeld, match="held by ada"):
        lease.require("bob", now_s=2.0)


def test_silence_frees_it_and_heartbeats_keep_it() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    lease.renew("ada", now_s=4.0)
    assert lease.info(now_s=8.9) is not None
    assert lease.info(now_s=9.0) is None
    assert lease.take("bob", "", now_s=9.0).holder == "bob"


def test_a_lapsed_holder_cannot_renew_nor_command() -> None:
    lease = Lease(length_s=1.0)
    lease.take("ada", "", now_s=0.0)
    with pytest.raises(LeaseHeld, match="ada holds no lease"):
        lease.renew("ada", now_s=2.0)


def test_only_the_holder_can_release_it() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    lease.release("bob", now_s=1.0)
    assert lease.info(now_s=1.0) is not None
    lease.release("ada", now_s=1.0)
    assert lease.info(now_s=1.0) is None


def holder(lease: Lease, now_s: float) -> str | None:
    info = lease.info(now_s)
    return None if info is None else info.holder


def test_who_waits_sees_the_place_and_gets_it_in_order_without_a_gap() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    lease.take("bob", "align", now_s=1.0, wait=True)
    told = lease.take("eve", "", now_s=2.0, wait=True)
    assert [told.position(name) for name in ("ada", "bob", "eve", "zoe")] == [0, 1, 2, None]
    assert [(w.client, w.purpose) for w in told.queue] == [("bob", "align"), ("eve", "")]
    assert lease.release("ada", now_s=3.0)
    assert holder(lease, 3.0) == "bob"
    lease.renew("eve", now_s=5.0)
    assert holder(lease, 5.9) == "bob"
    assert holder(lease, 6.0) == "eve", "bob took it and has been silent for its length"


def test_waiting_jumps_over_nobody_and_asking_again_keeps_the_place() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    for name in ("bob", "eve", "bob"):
        lease.take(name, "", now_s=1.0, wait=True)
    assert lease.renew("ada", now_s=1.0).position("bob") == 1
    with pytest.raises(LeaseHeld, match="held by ada"):
        lease.take("eve", "", now_s=1.0)


def test_a_waiting_client_that_goes_silent_loses_its_place() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    lease.take("bob", "", now_s=0.0, wait=True)
    lease.take("eve", "", now_s=1.0, wait=True)
    assert lease.renew("ada", now_s=4.0).position("bob") == 1
    told = lease.renew("eve", now_s=5.5)
    assert (told.position("bob"), told.position("eve")) == (None, 1)
    with pytest.raises(LeaseHeld):
        lease.renew("bob", now_s=5.5)


def test_a_waiting_client_may_leave() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    lease.take("bob", "", now_s=0.0, wait=True)
    assert not lease.release("bob", now_s=1.0)
    assert lease.renew("ada", now_s=1.0).queue == ()


def test_the_queue_is_bounded() -> None:
    lease = Lease(length_s=5.0)
    for number in range(MOST_CLAIMS):
        lease.take(f"c{number}", "", now_s=0.0, wait=True)
    with pytest.raises(LeaseHeld, match="63 wait already"):
        lease.take("late", "", now_s=0.0, wait=True)


def test_a_hand_over_leaves_no_gap_and_must_be_taken_up() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "map", now_s=0.0)
    lease.take("eve", "", now_s=0.0, wait=True)
    lease.take("bob", "strain", now_s=0.5, wait=True)
    told = lease.hand_over("ada", "bob", now_s=1.0)
    assert (told.holder, told.purpose, told.how, told.expires_in_s) == ("bob", "strain", "handed over by ada", 5.0)
    with pytest.raises(LeaseTaken, match="the lease of ada was handed over to bob"):
        lease.renew("ada", now_s=1.0)
    lease.renew("eve", now_s=4.0)
    assert holder(lease, 5.9) == "bob"
    assert holder(lease, 6.0) == "eve", "bob never took it up"


def test_nobody_who_is_not_there_is_handed_the_lease_and_those_who_are_are_named() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    lease.take("bob", "", now_s=0.0, wait=True)
    lease.take("eve", "", now_s=1.0, wait=True)
    with pytest.raises(UnknownName, match=r"'bbo' waits for the lease .*did you mean 'bob'\? known: 'bob', 'eve'"):
        lease.hand_over("ada", "bbo", now_s=2.0)
    lease.renew("ada", now_s=4.0)
    with pytest.raises(UnknownName, match="nobody named 'bob' waits"):
        lease.hand_over("ada", "bob", now_s=5.5)
    assert holder(lease, 5.5) == "ada"
    lease.hand_over("ada", "eve", now_s=5.5)
    assert lease.hand_over("eve", "ada", now_s=6.0).holder == "ada", "who gave it may be given it back"


def test_only_the_holder_hands_over_and_to_somebody_else() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "", now_s=0.0)
    for client, to in (("bob", "eve"), ("ada", "ada")):
        with pytest.raises(LeaseHeld):
            lease.hand_over(client, to, now_s=1.0)
    assert holder(lease, 1.0) == "ada"


def test_broken_glass_tells_the_former_holder_who_and_why_and_keeps_the_queue() -> None:
    lease = Lease(length_s=5.0)
    lease.take("ada", "map", now_s=0.0)
    lease.take("eve", "", now_s=0.0, wait=True)
    told = lease.break_glass("bob", "rescue", "vacuum alarm", now_s=1.0)
    assert (told.holder, told.how) == ("bob", "taken from ada by break-glass: vacuum alarm")
    assert told.position("eve") == 1
    for word in (lease.renew, lease.require):
        with pytest.raises(LeaseTaken, match="bob took the lease from ada by break-glass, saying: vacuum alarm"):
            word("ada", now_s=2.0)
    lease.release("bob", now_s=2.0)
    lease.release("eve", now_s=2.0)
    lease.take("ada", "", now_s=2.0)
    lease.require("ada", now_s=2.0)


@dataclass
class Claimed:
    client: str
    until_s: float


CLIENTS = ("ada", "bob", "eve", "zoe")
LENGTH_S = 5.0
WHO = st.sampled_from(CLIENTS)


class LeaseAgainstAModel(RuleBasedStateMachine):
    """The model keeps, in the plainest way, who asked when; the lease must never say otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.lease, self.now_s = Lease(LENGTH_S), 0.0
        self.asked: list[Claimed] = []
        self.lost: set[str] = set()

    def claim(self, client: str) -> Claimed | None:
        return next((c for c in self.asked if c.client == client), None)

    def holder(self) -> str | None:
        return self.asked[0].client if self.asked else None

    def refuses(self, word: Callable[[], object]) -> bool:
        try:
            word()
        except (LeaseHeld, UnknownName):
            return True
        return False

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.asked = [c for c in self.asked if c.until_s > self.now_s]

    @rule(client=WHO, wait=st.booleans())
    def take(self, client: str, wait: bool) -> None:
        must_refuse = self.holder() not in (None, client) and not wait
        assert self.refuses(lambda: self.lease.take(client, "", self.now_s, wait)) == must_refuse
        if not must_refuse:
            self.lost.discard(client)
            if self.claim(client) is None:
                self.asked.append(Claimed(client, 0.0))
            self.extend(client)

    @rule(client=WHO)
    def renew(self, client: str) -> None:
        assert self.refuses(lambda: self.lease.renew(client, self.now_s)) == (self.claim(client) is None)
        self.extend(client)

    @rule(client=WHO)
    def release(self, client: str) -> None:
        assert self.lease.release(client, self.now_s) == (self.holder() == client)
        self.lost.discard(client)
        self.asked = [c for c in self.asked if c.client != client]

    @rule(client=WHO, to=WHO)
    def hand_over(self, client: str, to: str) -> None:
        is_there = self.claim(to) is not None or to in self.lost
        may = self.holder() == client and to != client and is_there
        assert self.refuses(lambda: self.lease.hand_over(client, to, self.now_s)) != may
        if may:
            self.lost = self.lost - {to} | {client}
            self.asked = [c for c in self.asked if c.client not in (client, to)]
            self.asked.insert(0, Claimed(to, self.now_s + LENGTH_S))

    @rule(client=WHO)
    def break_glass(self, client: str) -> None:
        before = self.holder()
        self.lease.break_glass(client, "", "because", self.now_s)
        self.asked = [c for c in self.asked if c.client not in (client, before)]
        self.asked.insert(0, Claimed(client, self.now_s + LENGTH_S))
        self.lost.discard(client)
        if before not in (None, client):
            self.lost.add(before)
            with pytest.raises(LeaseTaken, match=f"{client} took the lease from {before}"):
                self.lease.require(before, self.now_s)

    @rule(stays=st.sampled_from([None, *CLIENTS]))
    def the_switch_is_turned(self, stays: str | None) -> None:
        self.lease.clear("local control", self.now_s, lambda client: client == stays)
        self.lost |= {c.client for c in self.asked if c.client != stays}
        self.asked = [c for c in self.asked if c.client == stays]

    def extend(self, client: str) -> None:
        claim = self.claim(client)
        if claim is not None:
            claim.until_s = self.now_s + LENGTH_S

    @invariant()
    def one_holder_commands_and_nobody_else(self) -> None:
        may = [c for c in CLIENTS if not self.refuses(lambda c=c: self.lease.require(c, self.now_s))]
        assert may == [self.holder()] * (self.holder() is not None)

    @invariant()
    def what_is_shown_is_what_is_so(self) -> None:
        info = self.lease.info(self.now_s)
        shown = [] if info is None else [info.holder, *(w.client for w in info.queue)]
        assert shown == [c.client for c in self.asked]
        assert len(set(shown)) == len(shown)
        if info is not None:
            left = [info.expires_in_s, *(w.expires_in_s for w in info.queue)]
            assert left == pytest.approx([c.until_s - self.now_s for c in self.asked])
            assert all(0 < s <= LENGTH_S for s in left)


TestLeaseAgainstAModel = LeaseAgainstAModel.TestCase
TestLeaseAgainstAModel.settings = settings(
    max_examples=amount(100, 3000), stateful_step_count=40, deadline=None, derandomize=True
)
