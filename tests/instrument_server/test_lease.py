"""The lease: one holder, visible, gone when silent."""

from __future__ import annotations

import pytest

from beamloop.core import LeaseHeld
from beamloop.instrument_server.lease import Lease


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
