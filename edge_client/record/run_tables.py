"""`/run` in a run file: the journal's events, decisions and time budgets as plain columns.

Each column is one dataset, so that any HDF5 reader makes a table of them. The journal is
the truth; these are written from it at close and can be written again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import h5py
import numpy as np

from .events import Budget
from .journal import Entry
from .story import Step, Story

FORMAT = 1
"""Version of these tables; raised whenever their names or meaning change."""

Column = Sequence[int] | Sequence[float] | Sequence[str]


def write_tables(file: h5py.File, story: Story | None, entries: Sequence[Entry]) -> None:
    """Write the group `/run` into an open run file."""
    run = file.create_group("run")
    run.attrs["format"] = FORMAT
    _write(run.create_group("events"), _events(entries))
    if story is None:
        return
    opened, ended = story.opened, story.ended
    run.attrs["name"] = opened.run
    run.attrs["question"] = story.experiment.question
    run.attrs["started"] = opened.started
    run.attrs["seed"] = opened.seed
    run.attrs["instrument"] = story.described.info.name
    run.attrs["source"] = story.described.info.source
    run.attrs["outcome"] = "interrupted" if ended is None else ended.outcome
    run.attrs["reason"] = "" if ended is None else ended.reason
    run.create_dataset("experiment", data=opened.experiment)
    run.create_group("versions").attrs.update(opened.versions)
    _write(run.create_group("decisions"), _decisions(story.steps))
    budget = run.create_group("budget")
    budget.attrs["units"] = "s"
    _write(budget, _budget(story.steps))


def _events(entries: Sequence[Entry]) -> Mapping[str, Column]:
    return {
        "seq": [entry.seq for entry in entries],
        "time_s": [entry.time_s for entry in entries],
        "kind": [entry.event.kind for entry in entries],
        "version": [entry.event.version for entry in entries],
        "data": [entry.event.model_dump_json(exclude={"kind"}) for entry in entries],
    }


def _decisions(steps: Sequence[Step]) -> Mapping[str, Column]:
    chosen = [step.commanded.suggestion for step in steps]
    measured = [None if step.arrived is None else step.arrived.measurement for step in steps]
    return {
        "step": [step.commanded.step for step in steps],
        "measurement_id": [step.commanded.measurement_id for step in steps],
        "candidate": [s.candidate for s in chosen],
        "y_m": [s.position[0] for s in chosen],
        "x_m": [s.position[1] for s in chosen],
        "why": [s.why for s in chosen],
        "score": [_number(s.score) for s in chosen],
        "believed_mean": [_number(s.mean) for s in chosen],
        "believed_std": [_number(s.std) for s in chosen],
        "outcome": [step.outcome for step in steps],
        "value": [_number(m and m.value) for m in measured],
        "value_std": [_number(m and m.std) for m in measured],
        "electrons": [_number(m and m.electrons) for m in measured],
    }


def _budget(steps: Sequence[Step]) -> Mapping[str, Column]:
    done = [(step.commanded, step.arrived.budget) for step in steps if step.arrived is not None]
    parts = {part: [getattr(budget, part) for _, budget in done] for part in Budget.model_fields}
    return {
        "step": [commanded.step for commanded, _ in done],
        **parts,
        "decide_s": [commanded.decide_s for commanded, _ in done],
        "react_s": [commanded.react_s for commanded, _ in done],
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _write(group: h5py.Group, columns: Mapping[str, Column]) -> None:
    for name, column in columns.items():
        if column and isinstance(column[0], str):
            group.create_dataset(name, data=column, dtype=h5py.string_dtype())
        else:
            group.create_dataset(name, data=np.asarray(column))
