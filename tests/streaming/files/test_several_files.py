"""Spectra and the images recorded with them, opened as one."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, Signal
from beamloop.streaming.files import field_of, open_recording, write_signal

ENERGY = Axis(name="energy_loss", size=3, units="eV")


def axes(ny: int, nx: int, step: float = 1e-9, offset: float = 0.0, units: str = "m") -> tuple[Axis, Axis]:
    y, x = (Axis(name=n, size=s, units=units, offset=offset, scale=step) for n, s in (("y", ny), ("x", nx)))
    return y, x


def written(path: Path, **signals: Signal) -> Path:
    with h5py.File(path, "w") as file:
        for i, (name, signal) in enumerate(signals.items()):
            write_signal(file, f"Channel_{i:03d}", name, signal)
    return path


def spectra(step: float = 1e-9, units: str = "m") -> Signal:
    return Signal(np.zeros((4, 3, 3)), (*axes(4, 3, step, units=units), ENERGY))


def image(ny: int, nx: int, step: float = 1e-9, units: str = "m", offset: float = 0.0) -> Signal:
    return Signal(np.arange(ny * nx).reshape(ny, nx), axes(ny, nx, step, offset, units))


def test_an_image_of_another_file_with_whole_pixels_per_position_is_laid_over_its_field(tmp_path: Path) -> None:
    one = written(tmp_path / "a.h5", eels=spectra(2e-9))
    two = written(tmp_path / "b.h5", haadf=image(20, 15, 7e-9, offset=3e-7))
    with open_recording(one, two) as both:
        haadf = both.detector("haadf")
        assert (haadf.y.scale, haadf.x.scale) == pytest.approx((0.4e-9, 0.4e-9))
        # The five pixels of a position have its coordinate as their mean.
        per_position = haadf.y.coordinates().reshape(4, 5).mean(axis=1)
        np.testing.assert_allclose(per_position, both.main.y.coordinates(), atol=1e-18)
        assert both.overview is haadf
        assert any("5 x 5 pixels for each position" in note for note in both.notes)
        np.testing.assert_array_equal(haadf.signal().data, np.arange(300).reshape(20, 15))


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    one = written(tmp_path / "a.h5", eels=spectra())
    two = written(tmp_path / "b.h5", haadf=image(8, 12))
    with open_recording(one, two) as ab, open_recording(two, one) as ba:
        for name in ("eels", "haadf"):
            a, b = ab.detector(name), ba.detector(name)
            assert (a.y, a.x) == (b.y, b.x)


def test_an_image_whose_pixels_do_not_divide_the_grid_stays_where_its_file_puts_it(tmp_path: Path) -> None:
    one = written(tmp_path / "a.h5", eels=spectra())
    two = written(tmp_path / "b.h5", survey=image(9, 12, 7e-9))
    with open_recording(one, two) as both:
        assert both.detector("survey").y.scale == pytest.approx(7e-9)
        assert not any("laid over" in note for note in both.notes)


def test_spectra_without_lengths_take_those_of_the_image(tmp_path: Path) -> None:
    one = written(tmp_path / "a.h5", eels=spectra(1.0, units=""))
    two = written(tmp_path / "b.h5", haadf=image(8, 6, 5e-10))
    with open_recording(one, two) as both:
        assert both.main.y.scale == pytest.approx(1e-9)
        assert both.main.calibrated
        assert field_of(both.main) == pytest.approx(field_of(both.detector("haadf")))
        assert not any("1 nm taken" in note for note in both.notes)
        assert any("tells no lengths; those of" in note for note in both.notes)


def test_in_one_file_an_image_that_starts_at_the_same_coordinate_shares_the_field(tmp_path: Path) -> None:
    # Both count from the middle of their first pixel, which are different places.
    path = written(tmp_path / "a.h5", eels=spectra(), haadf=image(16, 12, 2.5e-10))
    with open_recording(path) as recording:
        haadf = recording.detector("haadf")
        assert haadf.y.offset == pytest.approx(-0.5e-9 + 0.125e-9)
        assert "4 x 4 pixels for each position" in haadf.place


def test_in_one_file_an_image_with_its_own_place_keeps_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", eels=spectra(), haadf=image(16, 12, 2.5e-10, offset=-3.75e-10))
    with open_recording(path) as recording:
        assert recording.detector("haadf").y.offset == pytest.approx(-3.75e-10)
        assert not recording.notes


def test_equal_names_in_two_files_are_kept_apart(tmp_path: Path) -> None:
    one, two = (written(tmp_path / f"{name}.h5", eels=spectra()) for name in ("first", "second"))
    with open_recording(one, two) as both:
        assert [d.name for d in both.detectors] == ["eels", "eels_second"]


# Files that others made.


def test_the_haadf_of_the_interface_has_32_by_32_pixels_for_each_spectrum(recorded: Path) -> None:
    folder = recorded / "eels-si-interface"
    with open_recording(folder / "SI-EELS.dm3", folder / "SI-HAADF.dm3") as both:
        eels, haadf = both.detector("spectrum"), both.detector("haadf")
        assert (eels.shape, haadf.shape) == ((49, 6), (1568, 192))
        assert [(a.name, a.units, a.size, a.offset, a.scale) for a in eels.frame_axes] == [
            ("energy_loss", "eV", 1024, 350.0, 0.5)
        ]
        assert both.overview is haadf
        assert field_of(haadf) == pytest.approx(field_of(eels))
        # The image must lie over the spectra as it is, and not mirrored: the signal at 700-730 eV follows it.
        per_position = haadf.signal().data.reshape(49, 32, 6, 32).mean(axis=(1, 3))
        edge = eels.signal().data[:, :, 700:760].sum(axis=2)
        ways = [per_position[::a, ::b] for a in (1, -1) for b in (1, -1)]
        alike = [np.corrcoef(way.ravel(), edge.ravel())[0, 1] for way in ways]
        assert alike[0] == max(alike)
        assert alike[0] > 0.5
