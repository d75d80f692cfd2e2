"""When a run has measured enough: budgets of points, dose and time, and a small enough doubt.

A rule is an immutable value, so it stands in an experiment file and in the journal as it
was asked. It answers with the sentence that a person reads, because "why did it stop" is
part of the record.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from ..core import Frozen, Prediction


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has done so far.

    Attributes
    ----------
    points
        Measurements finished with a value.
    electrons, duration_s
        What they cost together: dose and instrument seconds.
    span
        Largest minus smallest value measured, in the target's units.
    """

    points: int = 0
    electrons: float = 0.0
    duration_s: float = 0.0
    span: float = 0.0


class StopRules(Frozen):
    """The run ends as soon as one of these is reached; a rule that is None is not asked.

    Dose and time are known only after a measurement, so they may be passed by what was in
    flight; the instrument's own dose budget is the hard limit.

    Attributes
    ----------
    points
        Measurements with a value.
    dose_electrons
        Electrons on the specimen by measurements.
    time_s
        Instrument seconds spent on measurements.
    uncertainty
        Largest predictive standard deviation over the candidates still open, as a fraction
        of the range (largest minus smallest) of the values measured. Needs a policy that
        has a belief and two different values.
    """

    points: PositiveInt | None = None
    dose_electrons: PositiveFloat | None = None
    time_s: PositiveFloat | None = None
    uncertainty: PositiveFloat | None = None

    def reached(self, progress: Progress, belief: Prediction | None = None, closed: Collection[int] = ()) -> str | None:
        """Return why the run should end now, or None if it should go on.

        Parameters
        ----------
        progress
            What the run has done so far.
        belief
            Only the rule of uncertainty reads it.
        closed
            Candidates that were measured, refused or failed; nothing more is learnt there.

        >>> StopRules(points=3).reached(Progress(points=3))
        '3 of 3 points measured'
        """
        if self.points is not None and progress.points >= self.points:
            return f"{progress.points} of {self.points} points measured"
        if self.dose_electrons is not None and progress.electrons >= self.dose_electrons:
            return f"dose of {progress.electrons:.4g} electrons reached the budget of {self.dose_electrons:.4g}"
        if self.time_s is not None and progress.duration_s >= self.time_s:
            return f"{progress.duration_s:.4g} s of measuring reached the budget of {self.time_s:.4g} s"
        if self.uncertainty is not None and belief is not None and progress.span > 0:
            doubt = _largest_open_std(belief, closed) / progress.span
            if doubt <= self.uncertainty:
                return (
                    f"largest uncertainty is {doubt:.3g} of the range of values, "
                    f"within the {self.uncertainty:.3g} asked for"
                )
        return None


def _largest_open_std(belief: Prediction, closed: Collection[int]) -> float:
    is_open = np.ones(len(belief.std), dtype=bool)
    is_open[list(closed)] = False
    return float(belief.std[is_open].max(initial=0.0))
