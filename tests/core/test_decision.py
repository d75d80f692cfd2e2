"""A pool holds together, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import FrameShapeWrong, Pool


@pytest.mark.parametrize(
    ("positions", "features", "shape"),
    [
        (np.zeros((6, 3)), None, None),
        (np.zeros((6, 2)), np.zeros((5, 4)), None),
        (np.zeros((6, 2)), None, (2, 4)),
    ],
)
def test_a_pool_that_does_not_fit_is_refused(
    positions: np.ndarray, features: np.ndarray | None, shape: tuple[int, int] | None
) -> None:
    with pytest.raises(FrameShapeWrong):
        Pool(positions, features, shape)


def test_a_pool_counts_its_candidates() -> None:
    assert len(Pool(np.zeros((6, 2)), np.zeros((6, 3)), (2, 3))) == 6
