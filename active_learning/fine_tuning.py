"""Bend features towards the property by a small network, and say whether that is worth it.

Network and kernel are trained together, up the exact marginal likelihood of a Gaussian
process on the network's outputs, times the priors of both. With a hundred measurements that
likelihood can be driven up at will without foretelling anything better, so it does not judge
itself: every measurement is held out once, the number of steps is the one that foretells
those left out best, and the network is refused unless it beats the features as they are by
more than a standard error. Only then is it trained on all measurements.

The work is bounded: `folds` + 1 trainings of at most `steps` steps on at most `most`
measurements.

Source: Wilson, Hu, Salakhutdinov & Xing, "Deep kernel learning", AISTATS 2016; Ober,
Rasmussen & van der Wilk, "The promises and pitfalls of deep kernel learning", UAI 2021 (the
marginal likelihood overfits); Breiman, Friedman, Olshen & Stone, "Classification and
regression trees", 1984, section 3.4.3 (one standard error); Kingma & Ba, "Adam", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from ..core import SettingsInvalid
from ..models.trunk import Trunk
from .hyperparameters import Hyperparameters
from .kernel import covariance, prior_variance
from .marginal_likelihood import Density, fit, pinned_switches, ready

UNIT = math.sqrt(12)
"""Inputs of a kernel spread like a unit interval, those of a network have variance 1."""


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How a network is trained, and when it is believed.

    Attributes
    ----------
    kept
        Features that go through an untrained network; outputs of a trained one.
    seed
        Of its first weights.
    width
        Units of each of its two hidden layers.
    steps, every
        Most steps of training, and steps between two looks at what was held out.
    rate
        Step length of Adam.
    folds
        Parts of the measurements that are held out one after another.
    most
        Measurements to train on; of more, an even selection in the order of measuring.

    Raises
    ------
    SettingsInvalid
        If a number makes no sense.
    """

    kept: int = 8
    seed: int = 0
    width: int = 32
    steps: int = 150
    every: int = 10
    rate: float = 1e-2
    folds: int = 4
    most: int = 400

    def __post_init__(self) -> None:
        if min(self.kept, self.width, self.every) < 1 or self.steps < self.every or self.folds < 2:
            raise SettingsInvalid(f"a network needs kept, width, every >= 1, steps >= every and folds >= 2; got {self}")


@dataclass(frozen=True, slots=True)
class Bent:
    """What training gave.

    Attributes
    ----------
    outputs
        What the network makes of every candidate, shape (m, kept), spread like a kernel's inputs.
    hyper
        The kernel that was trained with it.
    gain
        How much better it foretells a measurement that was held out, in nats.
    """

    outputs: NDArray[np.float64]
    hyper: Hyperparameters
    gain: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """Rows of the pool, standardised values and their known variances (nan: to be learnt), each shape (n,)."""

    rows: NDArray[np.intp]
    values: NDArray[np.float64]
    noise: NDArray[np.float64]

    def some(self, which: NDArray[np.bool_]) -> Measurements:
        """Return those where `which`, shape (n,), is true."""
        return Measurements(self.rows[which], self.values[which], self.noise[which])

    def at_most(self, count: int) -> Measurements:
        """Return an even selection of so many in the order of measuring."""
        if len(self.rows) <= count:
            return self
        chosen = np.zeros(len(self.rows), dtype=np.bool_)
        chosen[np.linspace(0, len(self.rows) - 1, count).round().astype(int)] = True
        return self.some(chosen)


def fine_tuned(
    features: NDArray[np.float64],
    others: NDArray[np.float64],
    measured: Measurements,
    start: Hyperparameters,
    how: FineTuning,
) -> Bent | None:
    """Return a network's view of the pool if it foretells measurements better than the features do, else None.

    Parameters
    ----------
    features
        What the network sees of each candidate, shape (m, d).
    others
        Inputs of the kernel that pass it by, shape (m, e); the kernel's columns are `how.kept` outputs, then these.
    measured
        What was measured.
    start
        Kernel and hyperparameters before any data.
    how
        How to train and to judge.
    """
    ready()
    measured = measured.at_most(how.most)
    with pinned_switches():
        foretold = _foretold(features, others, measured, start, how)
        best = int(np.argmax(foretold.mean(axis=1)))
        gain = foretold[best] - foretold[0]
        if not gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)):
            return None
        *_, (outputs, hyper) = _training(features, others, measured, start, how, best * how.every)
    return Bent(outputs, hyper, float(gain.mean()))


def _foretold(
    features: NDArray[np.float64],
    others: NDArray[np.float64],
    measured: Measurements,
    start: Hyperparameters,
    how: FineTuning,
) -> NDArray[np.float64]:
    """Return how well each measurement is foretold by the others, by number of looks, shape (looks, n)."""
    found = np.full((how.steps // how.every + 1, len(measured.rows)), -np.inf)
    fold = np.arange(len(measured.rows)) % how.folds
    for left_out in range(how.folds):
        known, rest = measured.some(fold != left_out), fold == left_out
        for look, (outputs, hyper) in enumerate(_training(features, others, known, start, how, how.steps)):
            inputs = np.hstack([outputs, others])
            found[look, rest] = log_density_of(inputs, known, measured.some(rest), hyper)
    return found


def _training(
    features: NDArray[np.float64],
    others: NDArray[np.float64],
    measured: Measurements,
    start: Hyperparameters,
    how: FineTuning,
    steps: int,
) -> Iterator[tuple[NDArray[np.float64], Hyperparameters]]:
    """Yield outputs over the pool and hyperparameters before the first step and after every `how.every`."""
    rows = measured.rows
    plain = np.hstack([features[rows, : how.kept], others[rows]])
    hyper, _ = fit(plain, measured.values, measured.noise, start)
    trunk, density = (
        Trunk(features.shape[1], how.kept, how.width, how.seed),
        Density(measured.values, measured.noise, hyper),
    )
    every, beside = torch.tensor(features * UNIT), torch.tensor(others[rows])
    seen = every[torch.tensor(rows)]
    climb = torch.optim.Adam([*trunk.parameters(), *density.parameters], lr=how.rate)
    for step in range(steps + 1):
        if step % how.every == 0:
            with torch.no_grad():
                yield trunk(every).numpy() / UNIT, density.hyperparameters
        climb.zero_grad()
        loss = -density.log_density(torch.cat([trunk(seen) / UNIT, beside], dim=1)) - trunk.log_prior()
        loss.backward()
        climb.step()
        density.keep_bounds()


def log_density_of(
    inputs: NDArray[np.float64], known: Measurements, asked: Measurements, hyper: Hyperparameters
) -> NDArray[np.float64]:
    """Return the logarithm of the predictive density of each asked value, given the known ones.

    Source: Rasmussen & Williams 2006, algorithm 2.1.
    """
    at, there = inputs[known.rows], inputs[asked.rows]
    noise, noise_there = (np.where(np.isnan(m.noise), hyper.noise, m.noise) for m in (known, asked))
    lower = cholesky(covariance(hyper.kernel, at, at) + np.diag(noise), lower=True)
    across = solve_triangular(lower, covariance(hyper.kernel, at, there), lower=True)
    mean = hyper.mean + solve_triangular(lower, known.values - hyper.mean, lower=True) @ across
    variance = np.maximum(prior_variance(hyper.kernel) - (across**2).sum(axis=0), 0.0) + noise_there
    return -0.5 * ((asked.values - mean) ** 2 / variance + np.log(2 * np.pi * variance))
