"""What a run saw, read back from its files, so that its report can be made again at any time.

The journal decides: the candidates are rebuilt from the experiment and the instrument's
description, and their checksums are compared with those the run wrote down. A run that was
cut off gives what there is; whatever is missing, rebuilt or different is told in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core import BeamloopError, Policy, Pool, Prediction
from ...core.registry import POLICIES
from ..plugins import made
from ..preparation import candidates, with_features
from .checksum import digest
from .found import Found, found_in
from .story import Seen, Story

MOST_REBUILT = 1000
"""A belief after more measurements is not rebuilt: learning anew takes a Gaussian process too long for a report."""


def seen_in(run_file: Path, story: Story) -> Seen:
    """Return what a run saw, as far as its run file and journal still tell.

    A belief that is not in the file is rebuilt by giving the measurements to the policy again.

    Parameters
    ----------
    run_file
        The run's `run.h5`; it may be missing, cut off or damaged.
    story
        What the run's journal tells.

    Raises
    ------
    BeamloopError
        If experiment and instrument, as the journal has them, no longer give any candidates.
    """
    pool, _, _ = candidates(story.experiment, story.described.info)
    found = found_in(run_file, story, pool)
    notes = list(found.notes)
    pool = with_features(story.experiment, pool, found.overview)
    notes += _differences(story, pool, found)
    belief = _belief(found.maps)
    if belief is None and story.measurements:
        belief, note = _rebuilt(story, pool)
        notes.append(note)
    truth = found.maps.get("truth")
    return Seen(pool, found.overview, belief, truth, found.best_frame, found.dose, tuple(notes))


def _differences(story: Story, pool: Pool, found: Found) -> Iterator[str]:
    """Say what is not as the journal has it."""
    installed, features = story.installed, "" if pool.features is None else digest(pool.features)
    if digest(pool.positions) != installed.pool:
        yield (
            f"the candidates are not those of the run: {len(pool)} were rebuilt, the run had {installed.candidates} "
            f"(SHA-256 {digest(pool.positions)[:12]}, the journal says {installed.pool[:12]})"
        )
    if features != installed.features and not (found.overview is None and not features):
        yield "the features of the candidates are not, to the last bit, those of the run; another version made them?"
    held = {"overview": None if found.overview is None else found.overview.data, "truth": found.maps.get("truth")}
    for _, acquired in story.acquired:
        data = held[acquired.name]
        if data is not None and digest(data) != acquired.sha256:
            yield f"the {acquired.name} in the run file is not the one that the journal tells of"


def _belief(maps: Mapping[str, NDArray[np.float64]]) -> Prediction | None:
    mean, std = maps.get("predicted"), maps.get("uncertainty")
    return None if mean is None or std is None else Prediction(mean, std)


def _rebuilt(story: Story, pool: Pool) -> tuple[Prediction | None, str]:
    """Return what the policy believes after the run's measurements, and how that came about."""
    choice = story.experiment.policy
    if digest(pool.positions) != story.installed.pool:
        return None, "no map of the belief: it cannot be rebuilt over other candidates"
    if len(story.measurements) > MOST_REBUILT:
        return None, (
            f"no map of the belief: rebuilding it from {len(story.measurements)} measurements would take too long "
            f"(the most is {MOST_REBUILT})"
        )
    try:
        policy: Policy = made(POLICIES, choice.name, choice.settings, "[policy.settings]", pool, story.opened.seed)
        for measurement in story.measurements:
            policy.observe(measurement)
        belief = policy.belief()
    except BeamloopError as error:
        return None, f"no map of the belief: it could not be rebuilt, {type(error).__name__}: {error}"
    if belief is None:
        return None, f"no map of the belief: policy {choice.name} has none"
    return belief, f"the belief was rebuilt by giving policy {choice.name} the {len(story.measurements)} measurements"
