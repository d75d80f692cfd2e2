"""Radiation damage: every electron is remembered where it fell, and fades lattice and edge.

The dose is kept on a grid that lies on the specimen. A position's dose is spread over the
probe's size, so a second visit a nanometre away sees most of the first one's damage.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .specimen import BORDER_M, FIELD_M

Reals = NDArray[np.float64]

CELL_M = 1e-9
NARROWEST_M = 0.7e-9
"""Standard deviation of the damaged spot of the finest probe: secondary electrons widen it."""


class Damage:
    """The dose a specimen has taken; for one thread.

    Parameters
    ----------
    critical_dose_per_m2
        Electrons per square metre that leave 1/e of lattice and edge; 0 for a specimen that takes no harm.
    """

    def __init__(self, critical_dose_per_m2: float) -> None:
        self._critical = critical_dose_per_m2
        cells = round((FIELD_M + 2 * BORDER_M) / CELL_M)
        self._electrons = np.zeros((cells, cells))

    def add(self, points: Reals, electrons: float, spot_m: float) -> None:
        """Remember `electrons` on each of some points (n, 2) in metres, spread over a spot of this deviation."""
        if self._critical == 0:
            return
        spot = max(spot_m, NARROWEST_M) / CELL_M
        reach = np.arange(-int(np.ceil(3 * spot)), int(np.ceil(3 * spot)) + 1)
        nearest = np.rint(_cells(points)).astype(np.int64)
        across = [nearest[:, axis, None] + reach for axis in (0, 1)]
        weights = [np.exp(-0.5 * ((a - _cells(points)[:, axis, None]) / spot) ** 2) for axis, a in enumerate(across)]
        share = np.einsum("ni,nj->nij", *(w / w.sum(axis=1, keepdims=True) for w in weights)) * electrons
        rows, columns = np.broadcast_arrays(across[0][:, :, None], across[1][:, None, :])
        inside = (np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) < len(self._electrons))
        np.add.at(self._electrons, (rows[inside], columns[inside]), share[inside])

    def dose(self, points: Reals) -> Reals:
        """Return the dose at points (n, 2) in metres, electrons per square metre, shape (n,)."""
        cell = np.clip(np.rint(_cells(points)).astype(np.int64), 0, len(self._electrons) - 1)
        return self._electrons[cell[:, 0], cell[:, 1]] / CELL_M**2

    def fading(self, points: Reals, electrons: float, spot_m: float) -> Reals:
        """Return what is left of lattice and edge while each point takes `electrons` more, 0 to 1, shape (n,).

        Half of a point's own exposure counts: that is the mean over its dwell.
        """
        if self._critical == 0:
            return np.ones(len(points))
        own = electrons / (2 * np.pi * max(spot_m, NARROWEST_M) ** 2)
        return np.exp(-(self.dose(points) + own / 2) / self._critical)


def _cells(points: Reals) -> Reals:
    """Return points as fractional cells, counted from the centre of the first."""
    return (points + BORDER_M) / CELL_M - 0.5
