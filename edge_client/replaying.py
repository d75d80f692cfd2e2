"""Show a run's decisions again: the journal's events, in their order, to a policy made anew.

The journal is followed whatever the policy says, so that one difference does not hide
whether the rest is the same. The first decision that differs is told with what may have
caused it: other versions, other features, other settings.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ..active_learning.loop import Loop
from ..core import Measurement, Policy, Pool, Prediction, RecordingUnreadable, Suggestion
from ..core.registry import POLICIES
from .conductor import PATIENCE
from .opening import versions
from .plugins import installed, made
from .record.checksum import digest
from .record.journal import Entry
from .record.story import Story
from .retelling import retell, suggestions


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision, as it was made and as it is made now.

    Attributes
    ----------
    step
        Its number in the order of suggesting, from 0.
    then, now
        What was suggested; `now` is None if the policy has nothing left to suggest.
    """

    step: int
    then: Suggestion
    now: Suggestion | None

    @property
    def is_same(self) -> bool:
        """Whether both chose the same candidate."""
        return self.now is not None and self.now.candidate == self.then.candidate

    @property
    def belief_off(self) -> float:
        """By how much the beliefs at the place differ, in standard deviations; nan where there was none."""
        if not self.is_same or self.now is None or self.then.mean is None or self.now.mean is None:
            return math.nan
        return abs(self.now.mean - self.then.mean) / (self.then.std or 1.0)

    def told(self) -> str:
        """Return both as one line for a person."""
        now = "nothing is left to suggest" if self.now is None else _told(self.now)
        return f"then {_told(self.then)}; now {now}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """All decisions of a run, made again.

    Attributes
    ----------
    decisions
        In the order of suggesting.
    causes
        What is not as it was when the run was made, one line each.
    """

    decisions: tuple[Decision, ...]
    causes: tuple[str, ...]

    @property
    def first_difference(self) -> Decision | None:
        """The first decision that chose another candidate; None if none did."""
        return next((decision for decision in self.decisions if not decision.is_same), None)


def replayed(entries: Sequence[Entry], story: Story, pool: Pool) -> Replayed:
    """Make a run's decisions again and compare them.

    Parameters
    ----------
    entries, story
        Its journal, and the story that this tells.
    pool
        Its candidates, with features if it had them.

    Raises
    ------
    RecordingUnreadable
        If the candidates are not those of the run, so that decisions cannot be compared.
    """
    if digest(pool.positions) != story.installed.pool:
        raise RecordingUnreadable(
            f"{len(pool)} candidates were rebuilt (SHA-256 {digest(pool.positions):.12}), the run had "
            f"{story.installed.candidates} ({story.installed.pool:.12}); decisions over others cannot be compared"
        )
    experiment = story.experiment
    choice = experiment.policy
    policy: Policy = made(POLICIES, choice.name, choice.settings, "[policy.settings]", pool, story.opened.seed)
    asked = _Asked(policy, suggestions(entries))
    retell(Loop(asked, experiment.stop, experiment.ahead, patience=PATIENCE), entries)
    return Replayed(tuple(asked.decisions), tuple(_changes(story, pool)))


@dataclass(slots=True)
class _Asked:
    """A policy that is asked for every suggestion, and made to follow what was suggested."""

    policy: Policy
    script: list[Suggestion]
    decisions: list[Decision] = field(default_factory=list)

    def observe(self, measurement: Measurement) -> None:
        self.policy.observe(measurement)

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        now, step = self.policy.suggest(taken, closed), len(self.decisions)
        if step >= len(self.script):
            # What the run would have suggested next, had it not been cut off.
            return now
        self.decisions.append(Decision(step, self.script[step], now))
        return self.script[step]

    def belief(self) -> Prediction | None:
        return self.policy.belief()


def _changes(story: Story, pool: Pool) -> Iterator[str]:
    before = story.resumptions[-1][1].versions if story.resumptions else story.opened.versions
    now = versions()
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield f"{name} was {before.get(name, 'not installed')} and is {now.get(name, 'not installed')}"
    features = "" if pool.features is None else digest(pool.features)
    if features != story.installed.features:
        yield "the features of the candidates come out otherwise than in the run"
    choice = story.experiment.policy
    policy, was = installed(POLICIES, choice.name, choice.settings), story.installed.policy
    if (policy.entry, policy.version) != (was.entry, was.version):
        yield f"policy {was.name} was {was.entry} {was.version} and is {policy.entry} {policy.version}"


def _told(suggestion: Suggestion) -> str:
    believed = "" if suggestion.mean is None else f", believed {suggestion.mean:.6g} ± {suggestion.std or 0.0:.3g}"
    return f"candidate {suggestion.candidate} ({suggestion.why}{believed})"
