"""Ask an instrument what would come of an experiment, before anything is exposed.

The plans are those that the run would make: the overview, the candidates, the expectation at the
end. Which candidates the policy will choose is not known beforehand, so of these a number is told and
the instrument bounds what they cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..core import LimitRefused
from ..core.dose import spelt_dose
from ..core.dry_run import DryRun, TrialStep, TriedStep
from .preparation import Preparation

MEASURING = "measurements"

Check = Callable[[Sequence[TrialStep]], DryRun]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would come of an experiment.

    Attributes
    ----------
    dry_run
        What the instrument says of each step.
    notes
        What is not known beforehand, and by what it is bounded.
    """

    dry_run: DryRun
    notes: tuple[str, ...]

    @property
    def steps(self) -> dict[str, TriedStep]:
        """The steps by name."""
        return {step.name: step for step in self.dry_run.steps}

    @property
    def electrons(self) -> float:
        """Electrons that all steps cost together."""
        return sum(step.electrons for step in self.dry_run.steps)

    @property
    def duration_s(self) -> float:
        """Instrument seconds that all steps take together, without the policy's thinking."""
        return sum(step.duration_s for step in self.dry_run.steps)


def refuse_hopeless(found: Rehearsal) -> None:
    """Raise if a run could not begin: a step would be refused, or no candidate could be measured.

    Raises
    ------
    LimitRefused
        With every step that would be refused, and why.
    """
    told = [f"{step.name}: {reason}" for step in found.dry_run.steps for reason in step.refused]
    told += [
        f"{step.name}: none of the {step.positions} candidates has dose left for a measurement"
        for step in found.dry_run.steps
        if step.possible == 0 and step.measurements
    ]
    if told:
        raise LimitRefused(f"nothing was exposed, for it would be refused: {'; '.join(told)}")


def dose_notes(found: Rehearsal) -> tuple[str, ...]:
    """Return what a run should tell about the dose budget of its instrument; nothing where there is none."""
    budgets = ", ".join(f"{spelt_dose(value)} ({key})" for key, value in found.dry_run.budgets.items())
    step = found.steps.get(MEASURING)
    if not budgets or step is None:
        return ()
    short = "" if step.suffices else f"; it allows {step.possible} of the {step.measurements} measurements asked for"
    return (f"dose budget: {budgets}{short}",)


def rehearsed(prepared: Preparation, check: Check) -> Rehearsal:
    """Return what would come of an experiment.

    Parameters
    ----------
    prepared
        The experiment made concrete.
    check
        Asks the instrument, which moves and exposes nothing.
    """
    most, why = _most_points(prepared)
    found = Rehearsal(check(_steps(prepared, most)), ())
    fewer, because = _by_cost(prepared, found, most)
    if fewer < most:
        most, why = fewer, because
        found = Rehearsal(check(_steps(prepared, most)), ())
    unknown = (
        f"which of the {len(prepared.pool)} candidates will be measured is for the policy to decide: the dose told is "
        f"that of the worst {most}"
        if most < len(prepared.pool)
        else ""
    )
    early = "the run ends earlier if its doubt is small enough" if prepared.experiment.stop.uncertainty else ""
    return replace(found, notes=tuple(filter(None, (why, unknown, early))))


def _steps(prepared: Preparation, most: int) -> list[TrialStep]:
    steps = [] if prepared.overview is None else [TrialStep(name="overview", plan=prepared.overview)]
    for number, plan in enumerate(prepared.everywhere()):
        # Of a very long list nobody knows in which part the choice falls: the first parts stand for all.
        chosen = min(most, plan.count)
        most -= chosen
        if chosen:
            name = f"{MEASURING}, part {number + 1}" if number else MEASURING
            steps.append(TrialStep(name=name, plan=plan, choose=chosen))
    if prepared.info.expects:
        steps.append(TrialStep(name="truth, to compare with", plan=prepared.expectation()))
    return steps


def _most_points(prepared: Preparation) -> tuple[int, str]:
    points, candidates = prepared.experiment.stop.points, len(prepared.pool)
    if points is None:
        return candidates, f"[stop] names no number of points: at most all {candidates} candidates are measured"
    if points > candidates:
        return candidates, f"[stop] asks for {points} points, and there are {candidates} candidates"
    return points, ""


def _by_cost(prepared: Preparation, found: Rehearsal, most: int) -> tuple[int, str]:
    """Return how many measurements the rules about dose and time leave, and what to say of it."""
    step, stop = found.steps.get(MEASURING), prepared.experiment.stop
    rules = []
    if step is not None and not step.refused:
        rules = [("dose_electrons", stop.dose_electrons, step.electrons), ("time_s", stop.time_s, step.duration_s)]
    for name, budget, cost in rules:
        if budget is None or cost == 0:
            continue
        # What is in flight when a rule is reached is still measured.
        count = math.ceil(budget / (cost / most)) + prepared.experiment.ahead
        if count < most:
            return count, f"[stop] {name} = {budget:g} is reached after at most {count} measurements"
    return most, ""
