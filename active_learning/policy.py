"""The policies by the names that an experiment file uses: random, grid, gp-coordinates, gp-features.

Each factory takes the pool, a seed and its own settings, as the entry-point group
`beamloop.policies` asks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..core import Pool, SettingsInvalid
from ..core.nearest import nearest
from .acquisition import ACQUISITIONS, Acquisition
from .hyperparameters import Hyperparameters, feature_kernel, position_kernel
from .inputs import feature_inputs, position_inputs
from .kernel import FAMILIES, Family
from .order_policy import OrderPolicy
from .pool_gp import PoolGP
from .surrogate_policy import Schedule, SurrogatePolicy
from .value_scale import SCALES, ValueScale
from .visiting import FarthestFirst, Scattered, Shuffled, Typical


def random(pool: Pool, seed: int) -> OrderPolicy:
    """Return the policy that measures in a random order."""
    return OrderPolicy(pool, Shuffled(len(pool), seed), "drawn at random")


def grid(pool: Pool, seed: int) -> OrderPolicy:
    """Return the policy that covers the pool evenly, coarse to fine.

    Source: Gonzalez 1985, farthest-first order.
    """
    return OrderPolicy(pool, FarthestFirst(position_inputs(pool), seed), "farthest from all places visited")


def gp_coordinates(
    pool: Pool,
    seed: int,
    *,
    acquisition: str = "log-ei",
    first: int = 10,
    growth: float = 1.15,
    family: Family = "matern52",
    warp: str = "none",
) -> SurrogatePolicy:
    """Return the policy that learns the property as a function of position.

    The first places are scattered evenly. The kernel is a slow and a fast part over position.

    Parameters
    ----------
    pool, seed
        The candidates, and what the first places follow from.
    acquisition
        `log-ei`, `ucb` or `max-std`.
    first
        Places to look at before the acquisition chooses.
    growth
        Hyperparameters are learnt anew when the data have grown by this factor.
    family
        Smoothness of the kernel: `matern32`, `matern52` or `rbf`.
    warp
        `asinh` for values with heavy tails, such as currents; `none` otherwise.

    Raises
    ------
    SettingsInvalid
        If a name is unknown, or `first` or `growth` makes no sense.
    """
    inputs = position_inputs(pool)
    start = Hyperparameters(position_kernel(known_family(family), (0, 1)))
    schedule, order = Schedule(first, growth), Scattered(inputs, seed)
    surrogate = PoolGP(inputs, start, known_warp(warp))
    return SurrogatePolicy(pool, surrogate, known_acquisition(acquisition), acquisition, order, schedule)


def gp_features(
    pool: Pool,
    seed: int,
    *,
    acquisition: str = "log-ei",
    first: int = 6,
    growth: float = 1.15,
    family: Family = "matern52",
    warp: str = "none",
    standardised: bool = False,
) -> SurrogatePolicy:
    """Return the policy that learns the property from what the overview shows, and from position.

    The first places are one of each sort that the features tell apart. The kernel is a sum:
    what features explain, and what no image shows but position carries.

    Parameters
    ----------
    pool, seed, acquisition, first, growth, family, warp
        As for `gp_coordinates`; the pool must have features.
    standardised
        Give each feature the same spread and a length scale of its own, for features that
        have no common unit. Without, their proportions count and one length scale serves all.

    Raises
    ------
    SettingsInvalid
        If the pool has no features, a name is unknown, or `first` or `growth` makes no sense.
    """
    features, positions = feature_inputs(pool, standardised), position_inputs(pool)
    start = Hyperparameters(feature_kernel(known_family(family), features.shape[1], shared=not standardised))
    schedule, order = Schedule(first, growth), Typical(features, first, seed, after=Scattered(positions, seed))
    surrogate = PoolGP(np.hstack([features, positions]), start, known_warp(warp))
    return SurrogatePolicy(pool, surrogate, known_acquisition(acquisition), acquisition, order, schedule)


def known_acquisition(name: str) -> Acquisition:
    """Return the acquisition of this name; `SettingsInvalid` tells the nearest for one that is unknown."""
    if name not in ACQUISITIONS:
        raise SettingsInvalid(f"no acquisition named {name!r}{nearest(name, ACQUISITIONS)}")
    return ACQUISITIONS[name]


def known_family(name: Family) -> Family:
    """Return the name of a kernel family; `SettingsInvalid` tells the nearest for one that is unknown."""
    if name not in FAMILIES:
        raise SettingsInvalid(f"no kernel family named {name!r}{nearest(name, FAMILIES)}")
    return name


def known_warp(name: str) -> Callable[[NDArray[np.float64]], ValueScale]:
    """Return what makes the scale of this name; `SettingsInvalid` tells the nearest for one that is unknown."""
    if name not in SCALES:
        raise SettingsInvalid(f"no warp named {name!r}{nearest(name, SCALES)}")
    return SCALES[name]
