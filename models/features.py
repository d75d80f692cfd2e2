"""What an overview image shows around each candidate: principal components of patches.

The overview is known before the first measurement, so the components are learnt from the
patches of all candidates and from no measured value. Scores come in the order of the
variance they explain, in one common unit, so that distances between them are distances
between patches; or whitened, where every component shall weigh the same.

Source: Pearson 1901 and Hotelling 1933, as in scikit-learn's `PCA` with its deterministic
solvers: eigenvectors of the covariance, or, with more pixels than patches, singular vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from sklearn.decomposition import PCA

from ..core import Axis, FrameShapeWrong, SettingsInvalid, Signal


@dataclass(frozen=True, slots=True)
class PatchFeatures:
    """Scores of the patches around m candidates on d components.

    Attributes
    ----------
    scores
        Scores, shape (m, d), each with mean 0; the first has variance 1, the others keep their
        proportion to it, or have variance 1 too if whitened.
    explained
        Fraction of the variance of all patches that each component explains, shape (d,).
    components
        The components as images, orthonormal, shape (d, size, size).
    """

    scores: NDArray[np.float64]
    explained: NDArray[np.float64]
    components: NDArray[np.float64]


def patch_features(
    image: Signal,
    positions: NDArray[np.float64],
    *,
    components: int = 8,
    size_m: float | None = None,
    size_px: int | None = None,
    whiten: bool = False,
) -> NDArray[np.float64]:
    """Return features of the overview around each position, shape (m, components).

    The same as `fit_patches(...).scores`; see there.
    """
    return fit_patches(image, positions, components=components, size_m=size_m, size_px=size_px, whiten=whiten).scores


def fit_patches(
    image: Signal,
    positions: NDArray[np.float64],
    *,
    components: int = 8,
    size_m: float | None = None,
    size_px: int | None = None,
    whiten: bool = False,
) -> PatchFeatures:
    """Cut a patch around every position, find the principal components of all and return the scores.

    Parameters
    ----------
    image
        The overview, axes (y, x) in metres.
    positions
        `(y, x)` of each candidate in metres, shape (m, 2).
    components
        How many features.
    size_m, size_px
        Side of the square patch, in metres or in pixels of the image; give one. Metres are
        rounded to the nearest odd number of pixels, at least 3.
    whiten
        Give every component variance 1.

    Raises
    ------
    SettingsInvalid
        If not exactly one size is given, it is not an odd number of pixels from 3 up to the
        image's smaller side, or more components are asked for than patches or pixels allow.
    FrameShapeWrong
        If the image has not two evenly spaced axes, holds values that are not finite, or the
        positions have not the shape (m, 2).
    """
    _check(image, positions)
    size = _size_px(image, size_m, size_px)
    if not 1 <= components <= min(len(positions) - 1, size**2):
        raise SettingsInvalid(
            f"{components} components were asked for; {len(positions)} patches of {size}x{size} pixels "
            f"give 1 to {min(len(positions) - 1, size**2)}"
        )
    flat = patches(image, positions, size).reshape(len(positions), -1)
    # The covariance solver subtracts squares of the mean, which costs digits unless the mean is small.
    flat -= flat.mean(axis=0)
    with np.errstate(invalid="ignore"):
        pca = PCA(n_components=components, svd_solver=_solver(*flat.shape)).fit(flat)
    spread = np.sqrt(pca.explained_variance_)
    # A component without variance is rounding noise; dividing would blow it up to variance 1.
    is_real = spread > 1e-7 * max(float(np.abs(image.data).max()), 1e-300)
    unit = np.where(is_real, spread if whiten else spread[0], 1.0)
    scores = np.where(is_real, pca.transform(flat) / unit, 0.0)
    explained = np.nan_to_num(pca.explained_variance_ratio_)
    return PatchFeatures(scores, explained, np.reshape(np.asarray(pca.components_), (components, size, size)))


def _solver(count: int, pixels: int) -> Literal["covariance_eigh", "full"]:
    """Return the solver whose work grows with the smaller of the two: both are deterministic."""
    return "covariance_eigh" if pixels <= count else "full"


def patches(image: Signal, positions: NDArray[np.float64], size_px: int) -> NDArray[np.float64]:
    """Return the square of pixels around each position, shape (m, size_px, size_px).

    Between pixels the image is interpolated linearly; beyond its edge it is reflected.
    """
    offsets = np.arange(size_px) - (size_px - 1) / 2
    y, x = ((positions[:, i] - axis.offset)[:, None] / axis.scale + offsets for i, axis in enumerate(image.axes))
    shape = (len(positions), size_px, size_px)
    where = np.stack([np.broadcast_to(y[:, :, None], shape), np.broadcast_to(x[:, None, :], shape)])
    return map_coordinates(np.asarray(image.data, dtype=np.float64), where, order=1, mode="reflect")


def _check(image: Signal, positions: NDArray[np.float64]) -> None:
    if image.data.ndim != 2 or any(axis.values for axis in image.axes):
        raise FrameShapeWrong(f"features need an overview with two even axes (y, x); got {_names(image.axes)}")
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise FrameShapeWrong(f"features need positions of shape (m, 2); got {positions.shape}")
    if not np.isfinite(image.data).all():
        bad = int((~np.isfinite(image.data)).sum())
        raise FrameShapeWrong(f"the overview has {bad} pixels that are not finite; fill or crop them first")


def _size_px(image: Signal, size_m: float | None, size_px: int | None) -> int:
    if (size_m is None) == (size_px is None) or (size_m is not None and not 0 < size_m < math.inf):
        raise SettingsInvalid(
            f"give the size of a patch once, as size_m > 0 or size_px; got size_m = {size_m} and size_px = {size_px}"
        )
    if size_px is None:
        assert size_m is not None
        size_px = max(3, 2 * round((size_m / abs(image.axes[1].scale) - 1) / 2) + 1)
    if size_px < 3 or size_px % 2 == 0 or size_px > min(image.data.shape):
        raise SettingsInvalid(
            f"a patch of {size_px} pixels was asked for; it must be odd, at least 3 and at most "
            f"the smaller side of the overview, which has {image.data.shape} pixels"
        )
    return size_px


def _names(axes: tuple[Axis, ...]) -> str:
    return ", ".join(f"{axis.name} ({axis.size}{', uneven' if axis.values else ''})" for axis in axes) or "none"
