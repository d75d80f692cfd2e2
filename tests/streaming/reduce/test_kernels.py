from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.streaming.reduce import CentreOfMass, Moments, Reducing, Ring, Total, VirtualDetector
from beamloop.streaming.reduce.kernels import BLOCK, TILE_BYTES, blocks, plain, tiles

from .scans import DTYPES, batch_of, camera_axes, frames_of, scan_of


@settings(max_examples=60, deadline=None)
@given(n_pixels=st.integers(1, 5 * BLOCK), data=st.data())
def test_blocks_hold_each_chosen_pixel_once_and_no_other(n_pixels: int, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, n_pixels - 1)))
    at, inside = blocks(np.array(sorted(chosen), dtype=np.intp), n_pixels)
    held = [int(first) + j for first, row in zip(at, inside, strict=True) for j in np.flatnonzero(row)]
    assert sorted(held) == sorted(chosen)
    assert n_pixels < BLOCK or not len(at) or at.max() + BLOCK <= n_pixels


@pytest.mark.parametrize("nbytes", [1, 1000, 10_000, TILE_BYTES])
def test_tiles_hold_every_frame_once_in_order(nbytes: int) -> None:
    scan = scan_of(">u2", frame_axes=camera_axes())
    frames = frames_of(scan)
    cut = list(tiles(batch_of(scan, frames, np.arange(15)), nbytes))
    np.testing.assert_array_equal(np.concatenate([tile.frames for tile in cut]), frames)
    np.testing.assert_array_equal(np.concatenate([tile.indices for tile in cut]), np.arange(15))
    assert all(len(tile.indices) == 1 or tile.frames.nbytes <= nbytes for tile in cut)


@pytest.mark.parametrize("dtype", [*DTYPES, "<f2", "|b1"])
def test_plain_frames_hold_the_same_numbers_in_the_processors_order(dtype: str) -> None:
    frames = np.arange(24).reshape(2, 3, 4).astype(dtype)
    odd = np.frombuffer(b"x" + frames.tobytes(), np.uint8)[1:].view(dtype).reshape(frames.shape)
    for given_ in (frames, odd, np.asfortranarray(frames), frames[:, ::-1][:, ::-1]):
        found = plain(given_)
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        assert found.flags.aligned
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, frames)
    assert frames.flags.writeable


def test_plain_frames_are_not_copied() -> None:
    frames = np.zeros((2, 3), np.uint16)
    assert np.shares_memory(plain(frames), frames)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<u4", "<f4"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
def test_reductions_that_share_tiles_give_what_each_gives_alone(dtype: str, n: int) -> None:
    # A frame of 300 x 301 is longer than a span of the sums, and a tile holds some but not all of nine.
    scan = scan_of(dtype, scan_shape=(n,), frame_axes=camera_axes((300, 301)))
    frames = frames_of(scan)
    ring = VirtualDetector(region=Ring(inner=20, outer=100, centre=(149, 150), pixels=True))
    wanted = {"total": Total(), "moments": Moments(), "centre": CentreOfMass(), "ring": ring}
    together = Reducing(scan, wanted)
    together.add(batch_of(scan, frames, np.arange(n)))
    whole = np.dtype(dtype).kind in "iu"
    for name, reduction in wanted.items():
        alone = Reducing(scan, {name: reduction})
        alone.add(batch_of(scan, frames, np.arange(n)))
        for key, signal in alone.results()[name].items():
            exact = whole and (name != "moments" or np.dtype(dtype).itemsize <= 2)
            found, rtol = together.results()[name][key].data, 0.0 if exact or name in ("centre", "ring") else 1e-12
            np.testing.assert_allclose(found, signal.data, rtol=rtol, atol=0, err_msg=f"{name} {key}")
    flat = frames.reshape(n, -1)
    if whole:
        assert together.results()["total"]["value"].data.tolist() == flat.sum(axis=1, dtype=np.int64).tolist()
        np.testing.assert_array_equal(together.results()["total"]["frame"].data, frames.sum(axis=0, dtype=np.int64))


def test_what_is_not_a_number_outside_a_region_stays_outside() -> None:
    scan = scan_of("<f4", scan_shape=(1,), frame_axes=camera_axes())
    frames = np.full((1, 7, 9), np.nan, "<f4")
    frames[0, 3, 4] = 2.0
    spot = Ring(inner=0, outer=0.5, centre=(3, 4), pixels=True)
    reducing = Reducing(scan, {"spot": VirtualDetector(region=spot), "centre": CentreOfMass(region=spot)})
    reducing.add(batch_of(scan, frames, [0]))
    results = reducing.results()
    assert results["spot"]["value"].data[0] == 2.0
    assert (results["centre"]["v"].data[0], results["centre"]["u"].data[0]) == (0.0, 0.0)


@pytest.mark.parametrize("n", [70_001, 100_002])
def test_sums_of_saturated_pixels_do_not_overflow(n: int) -> None:
    scan = scan_of("<u2", scan_shape=(n,))
    frames = np.full(n, 65_535, "<u2")
    reducing = Reducing(scan, {"total": Total(), "moments": Moments()})
    reducing.add(batch_of(scan, frames, np.arange(n)))
    results = reducing.results()
    assert results["total"]["frame"].data == n * 65_535
    assert results["moments"]["variance"].data == 0.0
