"""What a Gaussian process learns about a property beside its values: scales, noise, level.

In standardised units: the values that a fit saw have mean 0 and variance 1, and inputs
are scaled by whoever made them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .kernel import Family, Kernel, KernelPart

FAST = 0.03
"""Length scale at which the fast part over position starts, in extents of the pool."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Kernel, noise and constant mean of a Gaussian process.

    Attributes
    ----------
    kernel
        Sum of stationary parts.
    noise
        Variance of a measurement whose own error is not known.
    mean
        Level to which the belief returns far from data.
    """

    kernel: Kernel
    noise: float = 0.02
    mean: float = 0.0


def starting_part(family: Family, columns: tuple[int, ...], share: float = 1.0, shared: bool = False) -> KernelPart:
    """Return a part at the mode of the dimension-scaled prior over length scales.

    With `shared`, one length scale serves all columns. Inputs are taken to spread like a
    unit interval.

    Source: Hvarfner, Hellsten & Nardi, "Vanilla Bayesian optimization performs great in high
    dimensions", ICML 2024: length scales are log-normal with location √2 + log(d)/2 and
    scale √3.
    """
    scale = math.exp(math.sqrt(2) - 3) * math.sqrt(len(columns))
    return KernelPart(family, columns, (scale,) * (1 if shared else len(columns)), share)


def position_kernel(family: Family, columns: tuple[int, ...], share: float = 1.0) -> Kernel:
    """Return a slow and a fast part over position, each with one length for all directions.

    Maps of real specimens have grains or domains and texture within them; one length scale
    has to call one of the two noise. On the recorded I-V grid two parts lower the error of
    the map by 0.03 of its standard deviation, and one length for both directions, which a
    few measurements can tell, by another 0.02 against one for each.
    """
    slow = starting_part(family, columns, share / 2, shared=True)
    return slow, KernelPart(family, columns, (FAST,), share / 2)


def feature_kernel(family: Family, d: int, shared: bool) -> Kernel:
    """Return half of the variance over columns 0 to d - 1, features, and half over the next two, position.

    With `shared` one length scale serves all features.
    """
    seen = starting_part(family, tuple(range(d)), 0.5, shared=shared)
    return seen, *position_kernel(family, (d, d + 1), 0.5)
