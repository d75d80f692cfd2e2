"""Compiling the kernels before they are needed, through the reductions that need them."""

from __future__ import annotations

from ...core.frame import Scan
from ...core.protocols import Reduction
from ...core.signal import Axis
from .centre_of_mass import CentreOfMass
from .engine import Reducing
from .masks import Masks
from .moments import Moments
from .region import Disk
from .total import Total
from .virtual_detector import VirtualDetector

DTYPES = ("|u1", "<u2", "<u4", "<i4", "<f4")
"""What detectors give; other dtypes are compiled when they first come."""

SIZE = 8
DISK = Disk(radius=2.0, centre=(4.0, 4.0), pixels=True)

EVERY: dict[str, Reduction] = {
    "total": Total(),
    "moments": Moments(),
    "detector": VirtualDetector(region=DISK),
    "centre": CentreOfMass(),
    "centre in a disk": CentreOfMass(region=DISK),
    "masks": Masks(masks=(((1.0,) * SIZE,) * SIZE,)),
}
"""One of each kind that has a kernel of its own, or gives one arrays of another kind."""


def warm_up(dtype: str) -> None:
    """Compile, or load from this machine's cache, all kernels for frames of a dtype."""
    v, u, index = (Axis(name=name, size=size) for name, size in (("v", SIZE), ("u", SIZE), ("index", 1)))
    scan = Scan(
        scan_id="warmup", measurement_id="warmup", receiver="", detector="none", scan_axes=(index,), frame_axes=(v, u),
        dtype=dtype, dwell_s=0.0,
    )  # fmt: skip
    Reducing(scan, EVERY)
