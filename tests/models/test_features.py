from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from beamloop.core import Axis, FrameShapeWrong, SettingsInvalid, Signal
from beamloop.models.features import fit_patches, patch_features, patches

PIXEL = 0.5e-9


def overview(data: np.ndarray, offset: float = 2e-9) -> Signal:
    y, x = (
        Axis(name=name, units="m", size=size, offset=offset, scale=PIXEL)
        for name, size in zip("yx", data.shape, strict=True)
    )
    return Signal(data, (y, x))


def at(*pixels: tuple[float, float], offset: float = 2e-9) -> np.ndarray:
    return offset + PIXEL * np.array(pixels, dtype=float)


IMAGE = gaussian_filter(np.random.default_rng(0).normal(size=(60, 70)), 1.5)
ROWS, COLUMNS = np.meshgrid(np.arange(0, 60, 2), np.arange(0, 70, 2), indexing="ij")
EVERYWHERE = at(*zip(ROWS.ravel(), COLUMNS.ravel(), strict=True))


def test_patches_are_the_pixels_around_a_place_and_reflected_beyond_the_edge() -> None:
    data = np.arange(48.0).reshape(6, 8)
    inner, corner = patches(overview(data), at((2, 3), (0, 7)), 3)
    np.testing.assert_allclose(inner, data[1:4, 2:5])
    np.testing.assert_allclose(corner, np.pad(data, 1, mode="symmetric")[0:3, 7:10])


def test_places_between_pixels_are_interpolated() -> None:
    data = np.add.outer(10.0 * np.arange(9), np.arange(9))
    (patch,) = patches(overview(data), at((4.25, 3.5)), 3)
    np.testing.assert_allclose(patch, np.add.outer(10 * np.array([3.25, 4.25, 5.25]), [2.5, 3.5, 4.5]))


@pytest.mark.parametrize("whiten", [False, True])
def test_scores_equal_a_plain_singular_value_decomposition(whiten: bool) -> None:
    found = fit_patches(overview(IMAGE), EVERYWHERE, components=6, size_px=7, whiten=whiten)
    flat = patches(overview(IMAGE), EVERYWHERE, 7).reshape(len(EVERYWHERE), -1)
    u, s, vt = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    expected = u[:, :6] * np.sqrt(len(flat) - 1) * (1.0 if whiten else s[:6] / s[0])
    signs = np.sign(np.sum(expected * found.scores, axis=0))
    np.testing.assert_allclose(found.scores, expected * signs, atol=1e-8)
    np.testing.assert_allclose(found.explained, s[:6] ** 2 / np.sum(s**2), rtol=1e-8)
    np.testing.assert_allclose(np.abs(np.sum(found.components.reshape(6, -1) * vt[:6], axis=1)), 1.0, rtol=1e-8)


def test_scores_are_centred_with_the_spread_they_state() -> None:
    natural, white = (
        patch_features(overview(IMAGE), EVERYWHERE, components=5, size_px=5, whiten=whiten) for whiten in (False, True)
    )
    np.testing.assert_allclose(natural.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(white.std(axis=0, ddof=1), 1, rtol=1e-8)
    assert natural[:, 0].std(ddof=1) == pytest.approx(1)
    assert (np.diff(natural.std(axis=0)) <= 0).all()


def test_distances_between_all_natural_scores_are_distances_between_patches() -> None:
    scores = patch_features(overview(IMAGE), EVERYWHERE, components=9, size_px=3)
    flat = patches(overview(IMAGE), EVERYWHERE, 3).reshape(-1, 9)
    ratio = np.linalg.norm(scores[1:] - scores[:-1], axis=1) / np.linalg.norm(flat[1:] - flat[:-1], axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-7)


def test_features_move_with_the_image() -> None:
    inside = at(*[(r, c) for r in range(10, 45, 3) for c in range(10, 55, 3)])
    plain = patch_features(overview(IMAGE), inside, components=4, size_px=7)
    moved = patch_features(
        overview(np.roll(IMAGE, (3, -2), axis=(0, 1))), inside + PIXEL * np.array([3, -2]), components=4, size_px=7
    )
    np.testing.assert_allclose(moved, plain, atol=1e-9)


def test_features_do_not_depend_on_brightness_or_contrast() -> None:
    plain = patch_features(overview(IMAGE), EVERYWHERE, components=4, size_px=5)
    bright = patch_features(overview(300 + 17 * IMAGE), EVERYWHERE, components=4, size_px=5)
    np.testing.assert_allclose(bright, plain, atol=1e-6)


def test_counts_and_floats_of_the_same_image_give_the_same_features() -> None:
    counts = np.random.default_rng(1).poisson(40, size=(30, 30)).astype("<u2")
    places = EVERYWHERE[(EVERYWHERE < 2e-9 + 29 * PIXEL).all(axis=1)]
    np.testing.assert_array_equal(
        patch_features(overview(counts), places, size_px=5),
        patch_features(overview(counts.astype(float)), places, size_px=5),
    )


def test_a_flat_image_tells_nothing_and_says_so_with_zeros() -> None:
    found = fit_patches(overview(np.full((20, 20), 7.0)), EVERYWHERE[:40] * 0 + 5e-9, components=3, size_px=5)
    np.testing.assert_array_equal(found.scores, 0)
    assert np.isfinite(found.explained).all()


@pytest.mark.parametrize(("size_m", "size_px"), [(2.5e-9, 5), (2.2e-9, 5), (3.4e-9, 7), (1e-12, 3)])
def test_metres_are_rounded_to_odd_pixels(size_m: float, size_px: int) -> None:
    np.testing.assert_array_equal(
        patch_features(overview(IMAGE), EVERYWHERE, size_m=size_m),
        patch_features(overview(IMAGE), EVERYWHERE, size_px=size_px),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give the size of a patch once"),
        ({"size_m": 2e-9, "size_px": 5}, "give the size of a patch once"),
        ({"size_px": 4}, "patch of 4 pixels"),
        ({"size_px": 1}, "patch of 1 pixels"),
        ({"size_px": 61}, r"\(60, 70\)"),
        ({"size_m": 1e-6}, "patch of 1999 pixels|patch of 2001 pixels"),
        ({"size_m": float("nan")}, "size_m = nan"),
        ({"size_px": 3, "components": 10}, "1 to 9"),
        ({"size_px": 3, "components": 0}, "0 components"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        patch_features(overview(IMAGE), EVERYWHERE, **settings)


def test_images_that_cannot_serve_are_refused() -> None:
    broken = IMAGE.copy()
    broken[3, 4] = np.nan
    with pytest.raises(FrameShapeWrong, match="1 pixels"):
        patch_features(overview(broken), EVERYWHERE, size_px=5)
    line = Signal(IMAGE[0], overview(IMAGE).axes[1:])
    with pytest.raises(FrameShapeWrong, match=r"x \(70\)"):
        patch_features(line, EVERYWHERE, size_px=5)
    with pytest.raises(FrameShapeWrong, match=r"\(2,\)"):
        patch_features(overview(IMAGE), EVERYWHERE[0], size_px=5)


def test_with_more_pixels_than_patches_the_scores_are_those_of_a_singular_value_decomposition() -> None:
    rng = np.random.default_rng(8)
    image = Signal(rng.normal(size=(40, 50)), (Axis(name="y", size=40, units="m"), Axis(name="x", size=50, units="m")))
    positions = rng.uniform(10, 30, size=(30, 2))
    found = fit_patches(image, positions, components=4, size_px=11)
    flat = patches(image, positions, 11).reshape(30, -1)
    left, spread, right = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    expected = left[:, :4] * spread[:4] / (spread[0] / np.sqrt(29))
    np.testing.assert_allclose(np.abs(found.scores), np.abs(expected), atol=1e-10)
    np.testing.assert_allclose(np.abs(found.components.reshape(4, -1)), np.abs(right[:4]), atol=1e-10)
    np.testing.assert_allclose(found.explained, (spread**2 / np.sum(spread**2))[:4])
