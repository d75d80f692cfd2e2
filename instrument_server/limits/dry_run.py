"""Say what would come of some plans, with the same functions that would carry them out, on a copy of the dose map.

Each step finds the instrument as the steps before it would leave it. Which candidates a policy will
choose is not known beforehand; of those the bounds are told: how many the budget allows, and the
dose if the worst are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...core import (
    GENERIC,
    Acquisition,
    InstrumentInfo,
    LimitRefused,
    Limits,
    PointScan,
    SetParameters,
    Situation,
    UnknownName,
)
from ...core.dry_run import DryRun, TrialStep, TriedStep
from ..dose import Dose


def dry_run(
    steps: Sequence[TrialStep], info: InstrumentInfo, limits: Limits, dose: Dose | None, now: Situation
) -> DryRun:
    """Return what would come of some steps, one after another; nothing is moved, exposed or charged.

    Parameters
    ----------
    steps
        What would be asked.
    info, limits, dose
        The instrument, its limits as they hold now, and its dose; None where that is not counted.
    now
        The instrument as it stands.
    """
    trial, tried = None if dose is None else dose.copy(), []
    for step in steps:
        told, now = _tried(step, info, limits, trial, now)
        tried.append(told)
    budgets = {} if dose is None else dose.settings.budgets()
    return DryRun(steps=tuple(tried), counts_dose=dose is not None, budgets=budgets, own_timing=info.timing is not None)


def _tried(
    step: TrialStep, info: InstrumentInfo, limits: Limits, dose: Dose | None, now: Situation
) -> tuple[TriedStep, Situation]:
    plan = step.plan
    refused = _objections(limits, step, now)
    if isinstance(plan, SetParameters):
        after = now if refused else replace(now, values={**now.values, **plan.values})
        return TriedStep(name=step.name, positions=0, refused=tuple(refused)), after
    count = 1 if step.choose is None else min(step.choose, plan.count)
    told = TriedStep(name=step.name, positions=plan.count, measurements=count, refused=tuple(refused))
    if refused:
        return told, now
    each = plan if step.choose is None else _one(plan)
    told = told.model_copy(update={"duration_s": count * (info.timing or GENERIC).duration_s(each)})
    if dose is None or plan.expected:
        return told, now
    if step.choose is None:
        return _exposed(told, plan, dose, now), now
    return _chosen(told, plan, dose, now, count), now


def _objections(limits: Limits, step: TrialStep, now: Situation) -> list[str]:
    try:
        return [str(error) for error in limits.objections(step.plan, now)]
    except UnknownName as unknown:
        return [str(unknown)]


def _exposed(told: TriedStep, plan: Acquisition, dose: Dose, now: Situation) -> TriedStep:
    """Charge a plan to the copy of the map."""
    reserved = dose.planned(plan, now.values)
    try:
        dose.reserve(told.name, plan, now.values)
    except LimitRefused as refusal:
        return told.model_copy(update={"refused": (str(refusal),)})
    with dose.reading() as there:
        block = reserved.block
        cells = there.read(block.row, block.column, block.shape)[block.electrons > 0]
        greatest = float(cells.max(initial=0.0)) / there.cell_m**2
    return told.model_copy(update={"electrons": float(block.electrons.sum()), "greatest_per_m2": greatest})


def _chosen(told: TriedStep, plan: Acquisition, dose: Dose, now: Situation, count: int) -> TriedStep:
    """Bound what comes of a number of measurements at places that nobody knows yet."""
    each = dose.electrons(plan, now.values)
    block = dose.planned(plan, now.values).block
    candidates = np.rint(block.electrons / each) if each else np.zeros(block.shape)
    with dose.reading() as there:
        so_far, area = there.read(block.row, block.column, block.shape), there.cell_m**2
    room = dose.room(block, so_far, each)
    possible = np.minimum(candidates, room)
    used = np.minimum(possible, count)
    is_bounded = bool(dose.settings.budgets()) and each > 0
    return told.model_copy(
        update={
            "electrons": count * each,
            "greatest_per_m2": float(((so_far + used * each) / area)[candidates > 0].max(initial=0.0)),
            "possible": int(min(possible.sum(), plan.count)) if is_bounded else None,
            "closed": int(candidates[room < 1].sum()) if is_bounded else 0,
        }
    )


def _one(plan: Acquisition) -> PointScan:
    return PointScan(detector=plan.detector, points=((0.0, 0.0),), dwell_s=plan.dwell_s, expected=plan.expected)
