"""Deep kernel learning as a policy: features first, a network once it foretells better.

It begins as `gp-features` does, as a Gaussian process on features that no measured value
made. From a number of measurements on, a small network is trained to bend the features
towards the property, and the process works on what it gives, if held-out measurements say
that it foretells them better; otherwise everything stays as it was. Each training starts
from the plain features and looks at all measurements anew, so a network that has stopped
being worth it goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from ..core import Pool, Prediction, SettingsInvalid
from .fine_tuning import Bent, FineTuning, Measurements, fine_tuned
from .hyperparameters import Hyperparameters, feature_kernel
from .inputs import feature_inputs, position_inputs
from .kernel import Family
from .marginal_likelihood import NOISE_BOUNDS
from .policy import known_acquisition, known_family, known_warp
from .pool_gp import PoolGP
from .surrogate_policy import Schedule, SurrogatePolicy
from .value_scale import ValueScale, standard_scale
from .visiting import Scattered, Typical

TRAIN_AGAIN = 1.5
"""The network is trained anew when the data have grown by this factor."""


def deep_kernel(
    pool: Pool,
    seed: int,
    *,
    acquisition: str = "log-ei",
    first: int = 6,
    growth: float = 1.15,
    family: Family = "matern52",
    warp: str = "none",
    standardised: bool = False,
    kept: int = 8,
    network_from: int = 100,
    width: int = 32,
    steps: int = 150,
) -> SurrogatePolicy:
    """Return the policy that learns from what the overview shows and, with enough data, learns what to look at.

    Parameters
    ----------
    pool, seed, acquisition, first, growth, family, warp, standardised
        As for `gp_features`.
    kept
        Of the pool's features, the first so many are what the Gaussian process works on before there
        is a network; the network sees all. Ask for many features, such as `components = 32`.
    network_from
        Measurements before a network is tried.
    width, steps
        Units of its two hidden layers, and most steps of a training.

    Raises
    ------
    SettingsInvalid
        If the pool has no features, a name is unknown, or a number makes no sense.
    """
    features, positions = feature_inputs(pool, standardised), position_inputs(pool)
    kept = min(kept, features.shape[1])
    how = FineTuning(kept=kept, seed=seed, width=width, steps=steps)
    start = Hyperparameters(feature_kernel(known_family(family), kept, shared=not standardised))
    surrogate = DeepKernel(features, positions, start, how, network_from, known_warp(warp))
    order = Typical(features[:, :kept], first, seed, after=Scattered(positions, seed))
    return SurrogatePolicy(pool, surrogate, known_acquisition(acquisition), acquisition, order, Schedule(first, growth))


class DeepKernel:
    """Belief over a pool of candidates; see the top of this file. Call it from one thread.

    Parameters
    ----------
    features
        What a network sees of each candidate, shape (m, d), columns spread like a unit interval or less.
    positions
        Inputs of the kernel that pass the network by, shape (m, e).
    start
        Hyperparameters before any data; the kernel's columns are `how.kept` features, then positions.
    how
        How a network is trained and judged.
    network_from
        Measurements before a network is tried.
    scale_of
        Makes the scale of values at each fit.

    Raises
    ------
    SettingsInvalid
        If `network_from` gives too few measurements to hold some out.
    FrameShapeWrong
        If features or positions are no finite matrix.
    """

    def __init__(
        self,
        features: NDArray[np.float64],
        positions: NDArray[np.float64],
        start: Hyperparameters,
        how: FineTuning,
        network_from: int = 100,
        scale_of: Callable[[NDArray[np.float64]], ValueScale] = standard_scale,
    ) -> None:
        if network_from < 4 * how.folds:
            raise SettingsInvalid(f"a network needs network_from >= {4 * how.folds} measurements; got {network_from}")
        self._features, self._positions, self._start = features, positions, start
        self._how, self._scale_of, self._train_at = how, scale_of, network_from
        self._gp = self._plain()
        self._bent: Bent | None = None

    @property
    def gain(self) -> float | None:
        """How much better the network in use foretells a measurement, in nats; None where none is in use."""
        return None if self._bent is None else self._bent.gain

    @property
    def basis(self) -> str:
        """Whether a network is in use."""
        return "" if self._bent is None else f", by features that a network has bent (+{self._bent.gain:.2g} nats)"

    def fit(self, rows: NDArray[np.intp], values: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Learn hyperparameters and belief from all data anew and, when they have grown enough, the network.

        Raises
        ------
        NotEnoughData
            Without any measurement.
        FrameShapeWrong
            If the three do not have one length.
        """
        if len(rows) >= self._train_at and len(rows) == len(values) == len(std):
            self._train_at = math.ceil(TRAIN_AGAIN * len(rows))
            self._train(rows, values, std)
        self._gp.fit(rows, values, std)

    def update(self, row: int, value: float, std: float) -> None:
        """Add one measurement; network, hyperparameters and standardisation stay.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        self._gp.update(row, value, std)

    def predict(self) -> Prediction:
        """Return the belief at all m candidates, in the target's units.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        return self._gp.predict()

    def predict_given(self, pending: Collection[int]) -> Prediction:
        """Return the belief as if these candidates had given their present mean.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        return self._gp.predict_given(pending)

    def _train(self, rows: NDArray[np.intp], values: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        scale = self._scale_of(np.asarray(values, dtype=np.float64))
        noise = np.maximum(scale.variance(values, std), NOISE_BOUNDS[0])
        measured = Measurements(np.asarray(rows, dtype=np.intp), scale.forward(values), noise)
        had_one = self._bent is not None
        self._bent = fine_tuned(self._features, self._positions, measured, self._start, self._how)
        if self._bent is not None:
            self._gp = PoolGP(np.hstack([self._bent.outputs, self._positions]), self._bent.hyper, self._scale_of)
        elif had_one:
            self._gp = self._plain()

    def _plain(self) -> PoolGP:
        inputs = np.hstack([self._features[:, : self._how.kept], self._positions])
        return PoolGP(inputs, self._start, self._scale_of)
