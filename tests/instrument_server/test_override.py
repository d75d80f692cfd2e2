"""Local override: the switch at the instrument wins over any remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from beamloop.core import LocalControl
from beamloop.core.control import Verb
from beamloop.instrument_server.lease.local_switch import SWITCH, LocalSwitch
from beamloop.instrument_server.rights import RIGHTS

from .test_desk import POINT, Bench

ON = LocalControl(by="eva", reason="changing the aperture", since="2026-03-01T10:00:00+00:00")


class SwitchedBench(Bench):
    def __init__(self, folder: Path) -> None:
        self.switch = LocalSwitch(folder)
        super().__init__(folder)

    def made(self, info: Any) -> Any:
        return super().made(info, switch=self.switch)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SwitchedBench]:
    made = SwitchedBench(tmp_path)
    yield made
    made.answers.close()
    made.audit.close()


def test_turning_it_on_halts_ends_the_lease_and_is_told_to_all(bench: SwitchedBench) -> None:
    bench.ask("lease", "ada")
    bench.ask("lease", "bob", wait=True)
    bench.ask("acquire", "ada", plan=POINT)
    bench.switch.turn_on(ON)
    bench.desk.beat()
    assert bench.guard.said[1] == "halt"
    state = bench.desk.state()
    assert (state.local, state.lease) == (ON, None)
    for client in ("ada", "bob"):
        told = bench.ask("renew", client)
        assert told.error == "LocalOverride"
        assert "under local control" in told.message
        assert "by eva: changing the aperture" in told.message
    assert '"local override on"' in bench.audit_file.read_text()


@pytest.mark.parametrize("verb", get_args(Verb))
def test_while_it_is_on_every_command_is_refused_and_looking_is_not(bench: SwitchedBench, verb: Verb) -> None:
    bench.ask("lease", "ada")
    bench.switch.turn_on(ON)
    reply = bench.ask(verb, "ada", plan=POINT, reason="I want it", to="bob")
    if RIGHTS[verb].role == "observer" or verb == "release":
        assert reply.error != "LocalOverride"
    else:
        assert (reply.status, reply.error) == ("refused", "LocalOverride")
    assert bench.driver.asked == []
    assert "begin" not in bench.guard.said


def test_a_command_sees_it_before_the_next_beat_does(bench: SwitchedBench) -> None:
    bench.ask("lease", "ada")
    bench.switch.turn_on(ON)
    assert bench.ask("acquire", "ada", plan=POINT).error == "LocalOverride"
    assert bench.guard.said == ["halt"]


def test_it_survives_a_restart_and_turning_it_off_gives_nobody_the_lease_back(bench: SwitchedBench) -> None:
    bench.ask("lease", "ada")
    bench.switch.turn_on(ON)
    bench.desk.beat()
    bench.desk = bench.made(bench.desk._info)
    assert bench.ask("lease", "bob").error == "LocalOverride"
    assert bench.switch.confirmed() is not None
    assert bench.switch.turn_off()
    bench.desk.beat()
    assert (bench.desk.state().local, bench.desk.state().lease) == (None, None)
    assert bench.switch.confirmed() is None
    assert bench.ask("renew", "ada").error == "LeaseHeld"
    assert bench.ask("lease", "ada").status == "done"


def test_who_lost_the_lease_by_it_is_told_so_afterwards(bench: SwitchedBench) -> None:
    bench.ask("lease", "ada")
    bench.switch.turn_on(ON)
    bench.desk.beat()
    bench.switch.turn_off()
    told = bench.ask("acquire", "ada", plan=POINT)
    assert told.error == "LeaseTaken"
    assert "by eva: changing the aperture" in told.message


def test_whom_it_admits_commands_and_nobody_else(bench: SwitchedBench) -> None:
    bench.ask("lease", "ada")
    bench.switch.turn_on(ON.model_copy(update={"admits": "eva"}))
    assert bench.ask("lease", "eva/notebook").status == "done"
    assert bench.ask("acquire", "eva/notebook", plan=POINT).status == "done"
    for client in ("ada", "evangeline", "eva2/x"):
        assert bench.ask("break_glass", client, reason="mine").error == "LocalOverride"


def test_a_lease_of_whom_it_admits_goes_on(bench: SwitchedBench) -> None:
    bench.ask("lease", "eva")
    bench.ask("acquire", "eva", plan=POINT)
    bench.switch.turn_on(ON.model_copy(update={"admits": "eva"}))
    bench.desk.beat()
    assert "halt" not in bench.guard.said
    assert bench.ask("renew", "eva").status == "done"


def test_a_switch_that_cannot_be_read_counts_as_on(bench: SwitchedBench, tmp_path: Path) -> None:
    (tmp_path / SWITCH).write_text("{")
    reply = bench.ask("lease", "ada")
    assert reply.error == "LocalOverride"
    assert "cannot be read" in reply.message
