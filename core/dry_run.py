"""What would come of some plans, asked of the server that would carry them out; nothing is moved or exposed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from .frozen import Frozen
from .plan import Plan

MOST_STEPS = 1000


class TrialStep(Frozen):
    """One step of a dry run.

    Attributes
    ----------
    name
        What it is called in the answer.
    plan
        What would be asked.
    choose
        None where the plan is asked as it is. A number where each of its positions is a measurement of its own and
        so many of them will be chosen, nobody knows yet which.
    """

    name: str
    plan: Annotated[Plan, Field(discriminator="kind")]
    choose: PositiveInt | None = None


class TriedStep(Frozen):
    """What would come of one step.

    Attributes
    ----------
    name, positions
        Which step, and how many positions its plan has; 0 for one that sets parameters.
    refused
        Every reason for which it would be refused; empty if it would not be.
    measurements
        How many measurements are asked for: 1, or the number to choose.
    possible
        How many the dose budget allows, if the candidates are chosen well; None where nothing bounds it.
    closed
        Candidates that could not be measured even once.
    electrons, duration_s
        What all measurements cost together: dose and instrument seconds.
    greatest_per_m2
        The largest dose of any cell afterwards, if the worst candidates are chosen; electrons per square metre.
    """

    name: str
    positions: NonNegativeInt
    refused: tuple[str, ...] = ()
    measurements: NonNegativeInt = 1
    possible: NonNegativeInt | None = None
    closed: NonNegativeInt = 0
    electrons: NonNegativeFloat = 0.0
    duration_s: NonNegativeFloat = 0.0
    greatest_per_m2: NonNegativeFloat = 0.0

    @property
    def suffices(self) -> bool:
        """Whether the dose budget suffices for all measurements."""
        return self.possible is None or self.possible >= self.measurements


class DryRun(Frozen):
    """What would come of all steps, one after another.

    Attributes
    ----------
    steps
        In order.
    counts_dose
        Whether dose is charged at this instrument; without a current nobody can say what a plan costs.
    budgets
        Electrons per square metre by configuration key; empty if nothing is bounded.
    own_timing
        Whether the seconds are the instrument's own estimate, or a generic one.
    """

    steps: tuple[TriedStep, ...]
    counts_dose: bool
    budgets: dict[str, float]
    own_timing: bool

    @property
    def passes(self) -> bool:
        """Whether nothing would be refused and the budget suffices."""
        return all(not step.refused and step.suffices for step in self.steps)
