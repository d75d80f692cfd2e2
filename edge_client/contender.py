"""Who is compared on a run's record: its own policy, and others by name or by file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ..core import Frozen, SettingsInvalid
from ..core.registry import POLICIES, find
from ..core.settings import load
from .experiment import Experiment, FeatureChoice, PolicyChoice, read_experiment


class Rival(Frozen):
    """A file that says only who decides, and perhaps what is made of the overview for it."""

    policy: PolicyChoice
    features: FeatureChoice | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy with its settings, by the name that a table gives it.

    Attributes
    ----------
    name
        What a person calls it.
    policy
        Who decides.
    features
        What is made of the overview; None for what the run made of it.
    """

    name: str
    policy: PolicyChoice
    features: FeatureChoice | None = None


def contenders(experiment: Experiment, asked: list[str]) -> tuple[Contender, ...]:
    """Return a run's own policy and those asked for: names of policies, experiment files, files with `[policy]`.

    Raises
    ------
    SettingsInvalid
        If a file is wrong, or two would have the same name.
    UnknownName
        If no policy has the name.
    """
    own = Contender(f"{experiment.policy.name} (this run)", experiment.policy)
    found = (own, *(_contender(words) for words in asked))
    names = [contender.name for contender in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsInvalid(f"--policy {twice!r} was given twice; name each once, files by different names")
    return found


def _contender(words: str) -> Contender:
    path = Path(words)
    if path.suffix != ".toml":
        find(POLICIES, words)
        return Contender(words, PolicyChoice(name=words))
    rival = _rival(path)
    find(POLICIES, rival.policy.name)
    return Contender(f"{rival.policy.name} ({path.stem})", rival.policy, rival.features)


def _rival(path: Path) -> Rival:
    try:
        keys = set(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # What is wrong with the file is told by who loads it below.
        keys = set()
    if keys <= set(Rival.model_fields):
        return load(path, Rival)
    experiment, _ = read_experiment(path)
    return Rival(policy=experiment.policy, features=experiment.features)
