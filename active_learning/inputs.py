"""What a kernel sees of a pool: columns scaled so that one prior fits every pool.

The priors over length scales take inputs that spread like a unit interval. Positions are
divided by one common extent, so that a length in y is the same length in x. So are
features, unless they have no common unit: then each is divided by its own spread.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..core import Pool, SettingsInvalid


def position_inputs(pool: Pool) -> NDArray[np.float64]:
    """Return the positions, shape (m, 2), from 0, the larger extent of the pool as unit."""
    low, extent = pool.positions.min(axis=0), float(np.ptp(pool.positions, axis=0).max())
    return (pool.positions - low) / (extent or 1.0)


def feature_inputs(pool: Pool, standardised: bool = False) -> NDArray[np.float64]:
    """Return the features, shape (m, d), centred, the widest with the standard deviation of a unit interval.

    With `standardised` every column gets that spread; without, their spreads keep their
    proportions, and with them the distances between patches.

    Raises
    ------
    SettingsInvalid
        If the pool has no features, or they are not finite.
    """
    features = pool.features
    if features is None or not features.shape[1]:
        raise SettingsInvalid(
            "this policy learns from features of an overview image, and the pool has none: "
            "it needs an overview; choose an instrument that gives one, or the policy 'gp-coordinates'"
        )
    if not np.isfinite(features).all():
        raise SettingsInvalid(
            f"features must be finite; {int((~np.isfinite(features)).sum())} of {features.size} are not"
        )
    spread = features.std(axis=0)
    unit = np.where(spread > 0, spread, 1.0) if standardised else spread.max() or 1.0
    return (features - features.mean(axis=0)) / (unit * math.sqrt(12))
