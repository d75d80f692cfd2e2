"""The experiment file: what is asked of the specimen, as an immutable, checked value.

It says nothing about which instrument does it: the same file runs on a simulator, a
recording and a real microscope.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..active_learning.stopping import StopRules
from ..core import Frozen
from ..core.settings import checked, load

Shape = tuple[PositiveInt, PositiveInt]
PluginSettings = dict[str, object]


class PoolChoice(Frozen):
    """Where may be measured: a grid of `shape` (ny, nx) over the field of view.

    A recording can only give what was recorded: there the pool is the recorded grid.
    """

    shape: Shape | None = None


class Overview(Frozen):
    """The picture taken first.

    Attributes
    ----------
    detector
        Which detector; None for the instrument's own choice.
    shape
        Pixels (ny, nx).
    dwell_s
        Exposure of one pixel.
    """

    detector: str | None = None
    shape: Shape
    dwell_s: PositiveFloat


class MeasureChoice(Frozen):
    """How one place is measured: with which detector and exposure."""

    detector: str
    dwell_s: PositiveFloat


class Target(Frozen):
    """The property under study: a number made from what the detector gives.

    Attributes
    ----------
    name, units
        What it is called in the report, and its units.
    reduction
        Name under the entry-point group `beamloop.reductions`.
    output
        Which of the reduction's results is the value.
    uncertainty
        Which of them is its standard error; None to let the learner estimate it.
    plausible
        Lowest and highest value that can be real, in `units`; a measurement that gives another (a failed
        fit, a dead pixel) is told as failed and not learnt from. None believes everything finite.
    settings
        The reduction's own settings.
    """

    name: str
    units: str = ""
    reduction: str
    output: str = "value"
    uncertainty: str | None = "std"
    plausible: tuple[float, float] | None = None
    settings: PluginSettings = Field(default_factory=dict)


class FeatureChoice(Frozen):
    """What is known of a place before it is measured: the picture around it.

    Attributes
    ----------
    size_m, size_px
        Side of the square patch, in metres or in pixels of the overview; one of the two.
    components
        How many numbers describe a patch.
    """

    size_m: PositiveFloat | None = None
    size_px: PositiveInt | None = None
    components: PositiveInt = 8

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.size_m is None) == (self.size_px is None):
            raise ValueError(f"give size_m or size_px; got size_m = {self.size_m}, size_px = {self.size_px}")
        return self


class PolicyChoice(Frozen):
    """Who decides: a name under the entry-point group `beamloop.policies`, and its settings."""

    name: str
    settings: PluginSettings = Field(default_factory=dict)


class Experiment(Frozen):
    """One autonomous experiment.

    Attributes
    ----------
    name
        Short name; part of the run folder's.
    question
        What is asked, in words a microscopist uses.
    seed
        All randomness of the run comes from it.
    instrument
        Where to run when the command line names nothing: `HOST:PORT`, `simulator` or `replay:FILE`.
    pool, overview, measure, target, features, policy, stop
        See their types.
    ahead
        Measurements asked for beyond the one under way, so that deciding overlaps measuring.
    durability
        Of the journal; None for `power` on hardware and `process` elsewhere.
    swmr
        Whether the run file is marked as HDF5's SWMR writers do, for viewers that need it.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    question: str
    seed: Annotated[int, Field(ge=0)] = 0
    instrument: str | None = None
    pool: PoolChoice = PoolChoice()
    overview: Overview | None = None
    measure: MeasureChoice
    target: Target
    features: FeatureChoice | None = None
    policy: PolicyChoice
    stop: StopRules
    ahead: Annotated[int, Field(ge=0)] = 1
    durability: Literal["power", "process"] | None = None
    swmr: bool = False

    @model_validator(mode="after")
    def _ends_and_sees(self) -> Self:
        if self.stop == StopRules():
            raise ValueError("[stop] names no rule, so the run would never end; give points, dose_electrons, ...")
        if self.features is not None and self.overview is None:
            raise ValueError("[features] describe the picture around a place, so an [overview] is needed")
        return self

    def changed(self, seed: int | None = None, points: int | None = None) -> Experiment:
        """Return this experiment with another seed or number of points, as the command line asks.

        Raises
        ------
        SettingsInvalid
            If a number is out of its range.
        """
        data = self.model_dump()
        if seed is not None:
            data["seed"] = seed
        if points is not None:
            data["stop"]["points"] = points
        return checked(data, Experiment, "command line")


def read_experiment(path: Path) -> tuple[Experiment, str]:
    """Return the experiment in a TOML file, and the text as it stands there.

    Raises
    ------
    SettingsInvalid
        If the file is missing, is not TOML, or has a wrong key or value.
    """
    experiment = load(path, Experiment)
    return experiment, path.read_text(encoding="utf-8")
