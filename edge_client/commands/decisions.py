"""What `beamloop replay` says without `--policy`: whether the same events lead to the same decisions today."""

from __future__ import annotations

import json
import math

import typer
from rich.console import Console

from ..record.journal import read
from ..record.read_back import seen_in
from ..record.run_folder import RunFolder
from ..record.story import story_of
from ..replaying import Decision, Replayed, replayed


def show_decisions(folder: RunFolder, as_json: bool) -> None:
    """Make a run's decisions again and print whether they are the same; leave with status 1 if one is not.

    Raises
    ------
    RecordingUnreadable
        If journal or candidates cannot be had.
    typer.Exit
        With status 1, if a decision differs.
    """
    with Console(stderr=True, quiet=as_json).status(f"deciding again in {folder.path.name}"):
        entries = read(folder.journal)
        story = story_of(entries)
        found = replayed(entries, story, seen_in(folder.run_file, story).pool)
    if as_json:
        typer.echo(json.dumps(_facts(folder, found)))
    else:
        for line in _lines(found):
            typer.echo(line)
    if found.first_difference is not None:
        raise typer.Exit(1)


def _lines(found: Replayed) -> list[str]:
    first, count = found.first_difference, len(found.decisions)
    if first is None:
        off = [decision.belief_off for decision in found.decisions if not math.isnan(decision.belief_off)]
        lines = [f"the same next point at each of {count} decisions"]
        if off:
            lines.append(f"beliefs differ by {max(off):.2g} standard deviations at most")
    else:
        same = sum(decision.is_same for decision in found.decisions)
        lines = [f"decision {first.step + 1} of {count} is another today: {first.told()}", f"{same} are the same"]
    changes = [f"  {cause}" for cause in found.causes]
    return [*lines, *(["what has changed since:", *changes] if changes else [])]


def _facts(folder: RunFolder, found: Replayed) -> dict[str, object]:
    return {
        "run": str(folder.path),
        "same": found.first_difference is None,
        "first_difference": None if found.first_difference is None else found.first_difference.step,
        "changed": list(found.causes),
        "decisions": [_decision(decision) for decision in found.decisions],
    }


def _decision(decision: Decision) -> dict[str, object]:
    now = decision.now
    return {
        "step": decision.step,
        "then": decision.then.model_dump(),
        "now": None if now is None else now.model_dump(),
        "belief_off": None if math.isnan(decision.belief_off) else decision.belief_off,
    }
