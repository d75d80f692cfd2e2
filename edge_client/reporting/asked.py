"""What was asked of which instrument, and how to ask it again."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping

from ...core import DetectorInfo, InstrumentInfo
from ..experiment import Experiment
from ..record.story import Story
from .page import heading, listing, table, text
from .wording import seconds


def asked(story: Story) -> Iterator[str]:
    """Return the section about instrument, measurement, target, policy and stop rules."""
    yield heading("What was asked of which instrument")
    experiment, info = story.experiment, story.described.info
    measure = experiment.measure
    rows = [("instrument", f"{_named(info)}, beamloop {story.described.version_there} at {story.described.address}")]
    if info.guarantee:
        rows.append(("safety", info.guarantee))
    if story.clocks:
        rows.append(("times", _times(story)))
    if experiment.overview is not None:
        look, shape = experiment.overview, " x ".join(map(str, experiment.overview.shape))
        rows.append(("overview", f"{look.detector or info.overview}, {shape} pixels, {seconds(look.dwell_s)} each"))
    rows += [
        (
            "one measurement",
            f"{_frame(info.detector(measure.detector))}, {seconds(measure.dwell_s)}",
        ),
        ("its value", _target(experiment)),
        ("candidates", _candidates(story)),
        ("who decides", _plugin(experiment.policy.name, experiment.policy.settings) + f", seed {story.opened.seed}"),
        ("until", _settings(experiment.stop.model_dump(exclude_none=True))),
    ]
    yield table(("what", "how"), rows, whole=(0,))


def _times(story: Story) -> str:
    last = story.clocks[-1][1]
    ahead = f"{1e3 * last.offset_s:+.3g} ms, known to {1e3 * last.uncertainty_s:.2g} ms"
    return (
        f"of this computer, UTC; the instrument's clock was ahead by {ahead}, last of comparisons: {len(story.clocks)}"
    )


def again(story: Story) -> Iterator[str]:
    """Return the section about doing it again: commands, seed, versions, and the experiment as it stood."""
    opened, policy = story.opened, story.installed.policy
    yield heading("How to do it again")
    yield listing("\n".join(commands(story)))
    where = opened.instrument.removeprefix("replay:")
    if where != opened.instrument and not where.startswith("/"):
        yield text(f"{where} is meant from the folder in which the run was started.")
    yield text(
        f"experiment.toml is in this run's folder and below. Seed {opened.seed}; policy {policy.name} "
        f"({policy.entry} of version {policy.version}); reduction {story.installed.reduction.name}; journal durability "
        f"{opened.durability}; control protocol {story.described.protocol}."
    )
    versions = [*opened.versions.items(), ("beamloop at the instrument", story.described.version_there)]
    yield text("Versions: " + ", ".join(f"{name} {version}" for name, version in versions) + ".")
    yield listing(opened.experiment)


def commands(story: Story) -> list[str]:
    """Return the commands, typed in the run's folder, that run it again and make this report again."""
    opened, points = story.opened, story.experiment.stop.points
    changed = "" if points is None or points == _points_in(opened.experiment) else f" --points {points}"
    instrument = shlex.quote(opened.instrument)
    return [
        f"beamloop run experiment.toml --instrument {instrument} --seed {opened.seed}{changed} -o ..",
        "beamloop show .",
    ]


def _points_in(text: str) -> int | None:
    try:
        points = tomllib.loads(text).get("stop", {}).get("points")
    except (tomllib.TOMLDecodeError, AttributeError):
        # Whoever runs from Python may hand in any text.
        return None
    return points if isinstance(points, int) else None


def _named(info: InstrumentInfo) -> str:
    return f"{info.name} ({info.source})" + (f": {info.doc}" if info.doc else "")


def _frame(detector: DetectorInfo) -> str:
    axes = " x ".join(f"{axis.size} {axis.name.replace('_', ' ')}" for axis in detector.frame_axes) or "one number"
    return f"{detector.name}: {axes} ({detector.units or detector.quantity})"


def _target(experiment: Experiment) -> str:
    target = experiment.target
    told = f"{target.name}{f' ({target.units})' if target.units else ''}: {target.output} of "
    told += _plugin(target.reduction, target.settings)
    return told + (f", believed from {target.plausible[0]:g} to {target.plausible[1]:g}" if target.plausible else "")


def _candidates(story: Story) -> str:
    installed, choice = story.installed, story.experiment.features
    grid = "" if installed.shape is None else f", a grid of {installed.shape[0]} x {installed.shape[1]}"
    size = "" if choice is None else f"{choice.size_px} px" if choice.size_m is None else f"{choice.size_m * 1e9:g} nm"
    shown = "" if choice is None else f"; {choice.components} features of the {size} of overview around each"
    return f"{installed.candidates}{grid}{shown}"


def _plugin(name: str, settings: Mapping[str, object]) -> str:
    return f"{name} ({_settings(settings)})" if settings else name


def _settings(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())
