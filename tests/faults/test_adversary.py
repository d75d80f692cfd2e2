"""A crowd of adversaries in process: nothing outside a limit, nothing without a lease, one answer each, all audited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from beamloop.core import Limits, Rule
from beamloop.core.limit import Limit
from beamloop.instrument_server import desk
from beamloop.instrument_server.beam import Beam
from beamloop.instrument_server.command_table import CommandTable
from beamloop.instrument_server.desk import Desk
from beamloop.instrument_server.dose import Dose
from beamloop.instrument_server.lease.lease import Lease
from beamloop.instrument_server.lease.override import Override
from beamloop.instrument_server.minutes import Minutes

from .adversary import Adversary
from .amount import amount, first_seed

COMMANDS = amount(4_000, 1_000_000)
STEPS = 100
GAMES = 25
"""Games of one seed, of so many steps each; a step is a command or several."""

SEEDS = 40
"""Within so many seeds each bug must be found."""

WALLS = {
    "LeaseHeld", "LeaseTaken", "KeyRefused", "RoleLacking", "RequestReused", "PlanInvalid", "UnknownName", "NotArmed",
    "LocalOverride", "SettingsInvalid", "ProtocolMismatch", "DriverSilent", "done set", "done acquire",
    "limits.bias_v.step", "limits.stage_x_m.step", "dose.budget_per_m2", "dose.regions.particle.budget_per_m2",
    "rules.spectra-at-a-bias", "rules.stage-in-strong-beam",
}  # fmt: skip
"""What the crowd must have met, or nothing would be proved."""


def play(number: int, phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink)) -> None:
    """Play the games of one seed."""

    @seed(number)
    class Seeded(Adversary):
        """The same crowd each time."""

    run_state_machine_as_test(
        Seeded,
        settings=settings(
            max_examples=GAMES, stateful_step_count=STEPS, deadline=None, database=None, phases=phases,
            report_multiple_bugs=False, suppress_health_check=[*HealthCheck],
        ),
    )  # fmt: skip


@pytest.mark.timeout(120 + COMMANDS // 100)
def test_nothing_outside_a_limit_and_nothing_without_a_lease_reaches_the_driver() -> None:
    Adversary.met.clear()
    number = first_seed()
    while (played := Adversary.met.total()) < COMMANDS or (WALLS - Adversary.met.keys() and played < 10 * COMMANDS):
        play(number)
        number += 1
    print(f"{played} commands, seeds {first_seed()} .. {number - 1}: {dict(Adversary.met)}")
    assert not WALLS - Adversary.met.keys()


Mutate = Callable[[pytest.MonkeyPatch], None]


def without(patch: pytest.MonkeyPatch, part: str) -> None:
    """Let the limits be without one of their parts."""
    own = Limits.of

    def careless(self: Limits, name: str) -> Limit:
        return own(self, name).model_copy(update={part: None})

    made = Limits.__init__

    def forgetful(self: Limits, *args: Any, **more: Any) -> None:
        made(self, *args, **more)
        self._limits = {name: limit.model_copy(update={part: None}) for name, limit in self._limits.items()}

    patch.setattr(Limits, "__init__", forgetful)
    patch.setattr(Limits, "of", careless)


def forgets_the_step(patch: pytest.MonkeyPatch) -> None:
    without(patch, "step")


def forgets_the_rate(patch: pytest.MonkeyPatch) -> None:
    without(patch, "rate_per_s")


def forgets_the_upper_limit(patch: pytest.MonkeyPatch) -> None:
    without(patch, "high")


def forgets_the_rules(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rule, "forbids", lambda self, plan, now: False)


def charges_no_dose(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dose, "reserve", lambda self, *scan: None)


def gives_all_dose_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dose, "settle", lambda self, end: self.release(end.scan_id))


def checks_no_lease(patch: pytest.MonkeyPatch) -> None:
    def lenient(self: Lease, client: str, now_s: float) -> object:
        self.take(client, "", now_s, wait=True)
        return self._line[0]

    patch.setattr(Lease, "require", lenient)


def never_lets_a_lease_expire(patch: pytest.MonkeyPatch) -> None:
    made = Lease.__init__
    patch.setattr(Lease, "__init__", lambda self, length_s: made(self, 1e9))


def checks_no_role(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(desk, "require_role", lambda caller, verb: None)


def ignores_the_switch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Override, "refuse", lambda self, request: None)


def ignores_that_the_guard_refuses(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Beam, "_allowed", lambda self, facts, instead: facts or {"scan": 1})


def forgets_what_was_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommandTable, "known", lambda self, request: None)


def lets_a_scan_go_on_when_a_limit_is_narrowed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "_uphold", lambda self: "")


def writes_down_only_what_was_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Minutes, "kept", lambda self, request, deed: deed())


@pytest.mark.parametrize(
    "mutate",
    [
        forgets_the_step, forgets_the_rate, forgets_the_upper_limit, forgets_the_rules, charges_no_dose,
        gives_all_dose_back, checks_no_lease, never_lets_a_lease_expire, checks_no_role, ignores_the_switch,
        ignores_that_the_guard_refuses, forgets_what_was_done, lets_a_scan_go_on_when_a_limit_is_narrowed,
        writes_down_only_what_was_done,
    ],
)  # fmt: skip
def test_the_crowd_finds_a_server_that(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    for number in range(first_seed(), first_seed() + SEEDS):
        try:
            play(number, (Phase.generate,))
        except AssertionError as found:
            print(f"found with seed {number}: {[*str(found).splitlines(), ''][0]}")
            return
    raise AssertionError(f"{SEEDS * GAMES} games did not notice a server that {mutate.__name__.replace('_', ' ')}")
