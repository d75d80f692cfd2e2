"""What can be set on the simulated microscope, in SI units, and the optics that it means."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.instrument import Parameter
from .optics import Aberrations, Probe

_STIGMATOR = {"units": "m", "low": -2e-7, "high": 2e-7}
_COMA = {"units": "m", "low": -2e-5, "high": 2e-5}
STAGE = ("stage_y_m", "stage_x_m")
"""What moves the specimen under the field of view, `(y, x)`."""

BEAM_CURRENT = "beam_current_a"
"""The current in the probe."""

_STAGE = {"units": "m", "low": -1.5e-7, "high": 1.5e-7}

PARAMETERS = (
    Parameter(name="beam_current_a", units="A", value=5e-11, low=1e-13, high=1e-9, doc="current in the probe"),
    Parameter(name="beam_energy_ev", units="eV", value=2e5, low=6e4, high=3e5, doc="energy of the electrons"),
    Parameter(
        name="semi_angle_rad", units="rad", value=2.5e-3, low=1e-3, high=3e-2,
        doc="convergence semi-angle: a few mrad for separate discs, 20 mrad and more to see the lattice",
    ),
    Parameter(name="defocus_m", units="m", value=0.0, low=-2e-6, high=2e-6, doc="minus C10; positive is underfocus"),
    Parameter(name="c12_a_m", value=0.0, doc="twofold astigmatism along x", **_STIGMATOR),
    Parameter(name="c12_b_m", value=0.0, doc="twofold astigmatism at 45 degrees", **_STIGMATOR),
    Parameter(name="c21_a_m", value=0.0, doc="axial coma along x", **_COMA),
    Parameter(name="c21_b_m", value=0.0, doc="axial coma along y", **_COMA),
    Parameter(name="c23_a_m", value=0.0, doc="threefold astigmatism along x", **_COMA),
    Parameter(name="c23_b_m", value=0.0, doc="threefold astigmatism along y", **_COMA),
    Parameter(name="c30_m", units="m", value=0.0, low=-2e-3, high=2e-3, doc="spherical aberration; 0 is corrected"),
    Parameter(name="stage_y_m", value=0.0, doc="stage position along y", **_STAGE),
    Parameter(name="stage_x_m", value=0.0, doc="stage position along x", **_STAGE),
)  # fmt: skip
"""All parameters with their values at the start."""


def probe_of(state: Mapping[str, float], soft: bool) -> Probe:
    """Return the probe that these parameters make."""
    aberrations = Aberrations(
        c10=-state["defocus_m"],
        **{name: state[f"{name}_m"] for name in ("c12_a", "c12_b", "c21_a", "c21_b", "c23_a", "c23_b", "c30")},
    )
    return Probe(state["beam_energy_ev"], state["semi_angle_rad"], aberrations, soft)
