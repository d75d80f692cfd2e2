"""The heartbeat renews until told to stop, or until the lease is gone."""

from __future__ import annotations

import threading

from beamloop.core import InstrumentUnreachable, LeaseHeld
from beamloop.edge_client.connection.heartbeat import Heartbeat

SHORT_S = 0.02


def test_it_renews_until_it_is_stopped() -> None:
    beats, enough = [], threading.Event()

    def renew() -> None:
        beats.append(1)
        if len(beats) >= 3:
            enough.set()

    heartbeat = Heartbeat(renew, SHORT_S)
    assert enough.wait(5)
    heartbeat.stop()
    stopped_at = len(beats)
    assert not threading.Event().wait(5 * SHORT_S)
    assert len(beats) == stopped_at
    assert heartbeat.lost is None


def test_a_lost_beat_is_told_and_made_good_by_the_next() -> None:
    calls, recovered = [], threading.Event()

    def renew() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise InstrumentUnreachable("for a moment")
        if len(calls) == 3:
            recovered.set()

    heartbeat = Heartbeat(renew, SHORT_S)
    assert recovered.wait(5)
    assert heartbeat.lost is None
    heartbeat.stop()


def test_a_lease_that_went_to_somebody_else_ends_the_beating() -> None:
    refused = threading.Event()

    def renew() -> None:
        refused.set()
        raise LeaseHeld("the lease is held by another")

    heartbeat = Heartbeat(renew, SHORT_S)
    assert refused.wait(5)
    heartbeat.stop()
    assert isinstance(heartbeat.lost, LeaseHeld)
