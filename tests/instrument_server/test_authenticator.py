"""Without an authenticator nobody new is let in, and for whoever is connected the list of keys still counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beamloop.core import KeyRefused
from beamloop.edge_client.connection.guard_line import say
from beamloop.instrument_server.keys.making import revoke_key
from beamloop.streaming.receiver import Receiver

from .keyed import WAIT_S, served_with_keys, until_let_in
from .test_keys import guard_socket, is_proved, said
from .test_processes import acquire, until

DEATHS = Path(__file__).parent.parent / "deaths"


def test_a_live_process_whose_authenticator_dies_serves_nobody_new_and_those_who_are_there_by_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAMLOOP_DEATHS", str(tmp_path))
    with served_with_keys(tmp_path, DEATHS) as keyed:
        key = keyed.key("operator")
        line = keyed.line(key)
        until_let_in(lambda: line.ask("state"))
        with (
            Receiver(keyed.address.frames, f"{key.name}/test", key=key.frames) as receiver,
            guard_socket(keyed, key) as guard,
        ):
            assert said(guard, "state")["beam"] == "confirmed"
            until(lambda: receiver.statistics().channel.session != 0, WAIT_S)
            for module in ("guard.process", "driver"):
                (tmp_path / f"beamloop.instrument_server.{module}.authenticator").touch()
            for name in ("guard", "frames"):
                until(lambda name=name: "its authenticator has ended" in str(keyed.turned_away(name)), WAIT_S)
            with pytest.raises(KeyRefused, match="or its authenticator is dead"):
                say(keyed.address, "state", WAIT_S, key)
            with (
                Receiver(keyed.address.frames, f"{key.name}/new", key=key.frames) as late,
                pytest.raises(KeyRefused, match="or its authenticator is dead"),
            ):
                late.scan("a", WAIT_S)
            line.ask("lease", {"purpose": "test"})
            until(lambda: is_proved(line), WAIT_S)
            scan = receiver.scan(acquire(line, points=5), WAIT_S)
            assert sum(len(batch.indices) for batch in scan.batches(WAIT_S)) == 5
            scan.stored()
            assert said(guard, "blank")["beam"] == "confirmed"
            revoke_key(keyed.place, key.name)
            until(lambda: "was revoked" in said(guard, "state").get("error", ""), WAIT_S)
            with pytest.raises(KeyRefused, match="was revoked"):
                receiver.scan("another", WAIT_S)
        line.close()
    assert not [file for file in os.listdir(tmp_path) if file.endswith("authenticator")]
