"""The proof of the chain that stops the beam: it passes on a whole one and finds each link that is broken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from beamloop.core import Blanker, InstrumentInfo, NotArmed, ProofFailed, Region
from beamloop.instrument_server.dose import Dose, DoseSettings
from beamloop.instrument_server.dose.parked import ParkedBeam
from beamloop.instrument_server.guard.guard import Guard
from beamloop.instrument_server.guard.proofs import Proofs
from beamloop.instrument_server.guard.proving import LATE_S, LEASE_S, MOST_OPEN_S, Chain, prove


class Line(Blanker):
    """A line that can be broken, and remembers whether it was ever opened."""

    def __init__(self) -> None:
        self.passes = self.halted = False
        self.opened = 0
        self.sticks = self.opens_not = self.halts_not = self.frees_not = False

    def open(self) -> None:
        self.passes, self.opened = not self.opens_not, self.opened + 1

    def close(self) -> None:
        self.passes = self.passes and self.sticks

    def is_open(self) -> bool:
        return self.passes

    def halt(self) -> None:
        self.halted = not self.halts_not

    def free(self) -> None:
        self.halted = self.halted and self.frees_not

    def is_halted(self) -> bool:
        return self.halted

    def is_moving(self) -> bool:
        return False


class Bench:
    """A chain of the real guard's judgement, a line and a clock; `spoils` changes what the guard answers."""

    def __init__(self, opens: bool = True) -> None:
        self.now_s, self.line, self.refusal = 10.0, Line(), "too long"
        self.guard = Guard(self.line, "t", 1.0, self.now_s)
        self.spoils: Callable[[str, dict[str, Any] | None], dict[str, Any] | None] = lambda act, answer: answer
        self.chain = Chain(self, self.line, lambda: self.refusal, opens, lambda: self.now_s, self.sleep)
        self.beat()

    def beat(self) -> None:
        self.guard.private({"token": "t", "who": "driver", "act": "beat"}, self.now_s)

    def say(self, act: str, **facts: object) -> dict[str, Any] | None:
        answer = self.guard.private({"token": "t", "who": "server", "act": act, **facts}, self.now_s)
        return self.spoils(act, answer)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.beat()
        self.guard.tick(self.now_s)


@pytest.mark.parametrize("opens", [True, False])
def test_a_whole_chain_passes_and_is_armed_and_dark_after_it(opens: bool) -> None:
    bench = Bench(opens)
    proved = prove(bench.chain)
    assert LEASE_S <= proved.expiry_s < LEASE_S + LATE_S
    assert (bench.line.passes, bench.line.halted) == (False, False)
    assert bench.say("beat", lease_s=0.0)["reason"] == ""  # type: ignore[index]
    assert bench.line.opened == (3 if opens else 0)
    assert (proved.open_s > 0) is opens


class Silent(Bench):
    """A chain whose guard hangs as soon as it has opened the beam."""

    def say(self, act: str, **facts: object) -> dict[str, Any] | None:
        if act == "halt":
            assert not self.line.passes, "the beam waits for the answer of a guard that is silent"
        return None if self.line.opened else super().say(act, **facts)


def test_a_guard_that_falls_silent_in_a_proof_is_not_waited_for_with_the_beam_open() -> None:
    bench = Silent()
    bench.sleep = lambda seconds: None  # type: ignore[method-assign]
    with pytest.raises(ProofFailed, match="the guard does not answer"):
        prove(bench.chain)
    assert (bench.line.opened, bench.line.passes) == (1, False)


def stick(bench: Bench) -> None:
    bench.line.sticks = True


def not_open(bench: Bench) -> None:
    bench.line.opens_not = True


def not_halt(bench: Bench) -> None:
    bench.line.halts_not = True


def stay_halted(bench: Bench) -> None:
    bench.line.frees_not = True


def allow_everything(bench: Bench) -> None:
    bench.refusal = ""


def never_expire(bench: Bench) -> None:
    bench.spoils = lambda act, answer: {**(answer or {}), "permitted": True} if act == "beat" else answer


def refuse_nothing(bench: Bench) -> None:
    bench.spoils = lambda act, answer: {k: v for k, v in (answer or {}).items() if k != "refused"}


def say_unconfirmed(bench: Bench) -> None:
    bench.spoils = lambda act, answer: {**(answer or {}), "beam": "commanded"} if act == "word" else answer


def fall_silent(bench: Bench) -> None:
    bench.spoils = lambda act, answer: None if act == "word" else answer


BROKEN = (
    stick, not_open, not_halt, stay_halted, allow_everything, never_expire, refuse_nothing, say_unconfirmed,
    fall_silent,
)  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_chain_with_a_broken_link_fails(broken: Callable[[Bench], None]) -> None:
    bench = Bench()
    broken(bench)
    with pytest.raises(ProofFailed):
        prove(bench.chain)
    assert not bench.line.passes or bench.line.sticks


def test_answers_that_a_busy_machine_keeps_waiting_are_not_taken_for_a_beam_that_went_dark_too_early() -> None:
    bench = Bench()
    said = bench.say

    def late(act: str, **facts: object) -> dict[str, Any] | None:
        if act == "beat":
            bench.sleep(0.03)
        return said(act, **facts)

    bench.say = late  # type: ignore[method-assign]
    # Asked after 0.035 s, answered after 0.065 s: by then a permission of 0.05 s has run out as it should.
    assert prove(bench.chain).expiry_s == pytest.approx(0.065)


def test_a_stopped_instrument_is_not_proved_and_stays_stopped() -> None:
    bench = Bench()
    bench.guard.hear({"word": "stop"}, bench.now_s)
    with pytest.raises(NotArmed, match="stopped by a person"):
        prove(bench.chain)
    assert bench.line.halted


@pytest.mark.parametrize("moment", ["begin", "word", "move"])
def test_a_person_who_stops_during_the_proof_is_not_undone(moment: str) -> None:
    bench = Bench()

    def stop(act: str, answer: dict[str, Any] | None) -> dict[str, Any] | None:
        if act == moment:
            bench.guard.hear({"word": "stop"}, bench.now_s)
        return answer

    bench.spoils = stop
    with pytest.raises((NotArmed, ProofFailed)):
        prove(bench.chain)
    assert bench.line.halted
    bench.spoils = lambda act, answer: answer
    assert "stopped by a person" in bench.say("begin", lease_s=1.0)["refused"]  # type: ignore[index]


def proofs(bench: Bench, folder: Path) -> Proofs:
    return Proofs(bench.chain, 2.0, folder / "proof.json", lambda: datetime(2026, 1, 2, tzinfo=UTC))


def age_s(kept: Proofs) -> float | None:
    told = kept.told()
    return None if told is None else told.age_s


def test_an_exposure_that_finds_no_proof_or_an_old_one_has_it_made_and_none_rests_on_a_failed_one(
    tmp_path: Path,
) -> None:
    bench = Bench()
    kept = proofs(bench, tmp_path)
    assert kept.told() is None
    kept.rest_on("ada")
    assert age_s(kept) == 0.0
    bench.now_s += 2 * 3600 + 1
    bench.beat()
    kept.rest_on("ada")
    assert age_s(kept) == 2 * 3600 + 1, "who began on a good one goes on"
    kept.rest_on("bob")
    assert age_s(kept) == 0.0, "who begins now does not"
    bench.refusal = ""
    bench.say("beat")
    with pytest.raises(ProofFailed, match="outside the limits was not refused"):
        kept.prove()
    bench.refusal = "refused"
    with pytest.raises(ProofFailed, match="the last proof failed: a command outside"):
        kept.rest_on("ada")


def test_a_proof_is_told_after_a_restart_and_counts_no_longer(tmp_path: Path) -> None:
    proofs(Bench(), tmp_path).prove()
    again = proofs(Bench(), tmp_path)
    told = again.told()
    assert told is not None
    assert (told.passed, told.counts, told.age_s, told.at) == (True, False, None, "2026-01-02T00:00:00+00:00")
    again.rest_on("ada")
    assert age_s(again) == 0.0, "made anew"


def test_a_beam_that_stays_open_after_a_scan_voids_the_proof(tmp_path: Path) -> None:
    kept = proofs(Bench(), tmp_path)
    kept.prove()
    kept.void("the beam was not read back as blanked")
    with pytest.raises(ProofFailed, match="not read back as blanked"):
        kept.rest_on("ada")


CURRENT_A, CELL_M, PARKED = 5e-11, 1e-9, (30.5e-9, 40.5e-9)
PER_S = CURRENT_A / 1.602176634e-19


def charged(bench: Bench, folder: Path, budget_s: float) -> tuple[Proofs, Dose]:
    """Return proofs on a specimen with a budget of so many seconds of beam in any cell."""
    info = InstrumentInfo(
        name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=64e-9, width_m=64e-9), parameters=(),
        detectors=(),
    )  # fmt: skip
    budget = budget_s * PER_S / CELL_M**2
    settings = DoseSettings(budget_per_m2=budget, cell_m=CELL_M, current_a=CURRENT_A, parked_m=PARKED)
    dose = Dose(info, settings, None)
    today = datetime(2026, 1, 2, tzinfo=UTC)
    return Proofs(bench.chain, 2.0, folder / "proof.json", lambda: today, ParkedBeam(dose, dict)), dose


def seconds_at_the_parked_probe(dose: Dose) -> float:
    with dose.reading() as there:
        here = float(there.read(30, 40, (1, 1))[0, 0])
        assert there.electrons == pytest.approx(here), "and nowhere else"
    return here / PER_S


def test_a_proof_charges_the_place_under_the_parked_probe_for_as_long_as_it_took(tmp_path: Path) -> None:
    bench = Bench()
    proofs, dose = charged(bench, tmp_path, budget_s=10.0)
    began_s = bench.now_s
    told = proofs.prove()
    assert told.beam == "open"
    assert 0.0 < told.open_s <= seconds_at_the_parked_probe(dose) + 1e-12
    assert seconds_at_the_parked_probe(dose) == pytest.approx(bench.now_s - began_s)
    proofs.prove()
    assert seconds_at_the_parked_probe(dose) == pytest.approx(bench.now_s - began_s)


def test_a_place_without_room_for_the_longest_proof_is_proved_in_the_dark(tmp_path: Path) -> None:
    bench = Bench()
    proofs, dose = charged(bench, tmp_path, budget_s=0.9 * MOST_OPEN_S)
    told = proofs.prove()
    assert (told.passed, told.beam, told.open_s, bench.line.opened) == (True, "dark", 0.0, 0)
    assert seconds_at_the_parked_probe(dose) == 0.0


def test_a_beam_that_did_not_go_dark_stays_charged_in_full(tmp_path: Path) -> None:
    bench = Bench()
    proofs, dose = charged(bench, tmp_path, budget_s=10.0)
    bench.line.sticks = True
    with pytest.raises(ProofFailed):
        proofs.prove()
    assert bench.line.is_open()
    assert seconds_at_the_parked_probe(dose) == pytest.approx(MOST_OPEN_S)
    dose.exchange("another", "2026-01-02")
    assert seconds_at_the_parked_probe(dose) == 0.0, "nothing is held to be still running"


def test_an_instrument_that_is_stopped_is_not_charged_for_a_proof_that_was_not_made(tmp_path: Path) -> None:
    bench = Bench()
    proofs, dose = charged(bench, tmp_path, budget_s=10.0)
    bench.guard.hear({"word": "stop"}, bench.now_s)
    with pytest.raises(NotArmed):
        proofs.prove()
    assert seconds_at_the_parked_probe(dose) == pytest.approx(0.0, abs=1e-9)
