"""What a configuration may say about the simulated microscope."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from ..core.frozen import Frozen


class MicroscopeSettings(Frozen):
    """How the simulated microscope is made; every key has a default.

    Attributes
    ----------
    name
        Its name.
    seed
        Makes the specimen, the drift and the noise.
    invisible_seed
        Makes the part of the composition that no image shows; None for the same as `seed`.
    pace
        Real seconds per instrument second: 0 does not wait, 1 is real time.
    drift_m_per_s
        Speed of the drift.
    critical_dose_per_m2
        Electrons per square metre that leave 1/e of lattice and edge; 0 for no damage.
    soft_aperture
        Whether the aperture's edge is smoothed.
    pausable
        Whether detectors wait while nobody takes their frames; if not, they lose them, as triggered cameras do.
    start
        Values of parameters at the start, by name; others start as built.
    """

    name: str = "simulated STEM"
    seed: NonNegativeInt = 0
    invisible_seed: NonNegativeInt | None = None
    pace: NonNegativeFloat = 0.0
    drift_m_per_s: NonNegativeFloat = 3e-12
    critical_dose_per_m2: NonNegativeFloat = 2e27
    soft_aperture: bool = True
    pausable: bool = True
    start: dict[str, float] = Field(default_factory=dict)
