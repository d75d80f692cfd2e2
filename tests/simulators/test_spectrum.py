"""Spectra: shape of the edge, and that the window ratio follows the composition alone."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.optics import Probe
from beamloop.simulators.projection import Projection
from beamloop.simulators.specimen import FIELD_M, Specimen, grown_specimen
from beamloop.simulators.spectrum import ENERGY, L2_EV, L3_EV, RESOLUTION_EV, Spectra, background, edge

PROBE = Probe(200e3, 2.5e-3)
LOSS = ENERGY.coordinates()


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return grown_specimen(5, 5)


@pytest.fixture(scope="module")
def spectra(specimen: Specimen) -> Spectra:
    return Spectra(Projection(specimen))


def ratio(frames: np.ndarray) -> np.ndarray:
    after, before = (LOSS > 704) & (LOSS < 770), (LOSS > 600) & (LOSS < 700)
    return frames[..., after].sum(axis=-1) / frames[..., before].sum(axis=-1)


def test_background_is_a_power_law() -> None:
    slope = np.diff(np.log(background())) / np.diff(np.log(LOSS))
    np.testing.assert_allclose(slope, -3.2, rtol=1e-9)


def test_edge_begins_at_l3_and_has_two_white_lines() -> None:
    shape = edge()
    assert shape[LOSS < L3_EV - 6 * RESOLUTION_EV].max() < 1e-6 * shape.max()
    peaks = LOSS[1:-1][(shape[1:-1] > shape[:-2]) & (shape[1:-1] > shape[2:])]
    np.testing.assert_allclose(peaks, [L3_EV + 1.5, L2_EV + 1.5], atol=ENERGY.scale)


def test_edge_onset_is_as_wide_as_the_resolution() -> None:
    # Half of the first white line's height is reached within its own broadened width before its centre.
    shape = edge()
    rising = LOSS < L3_EV + 2
    half = np.interp(shape[rising].max() / 2, shape[rising], LOSS[rising])
    assert L3_EV - 2 * RESOLUTION_EV < half < L3_EV + RESOLUTION_EV


def test_ratio_is_a_straight_line_in_the_composition_whatever_the_thickness(
    specimen: Specimen, spectra: Spectra
) -> None:
    steps = (np.arange(40) + 0.5) / 40 * FIELD_M
    points = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    found = ratio(spectra.at(points, PROBE, np.ones(len(points))))
    composition = specimen.composition.at(points)
    slope, offset = np.polyfit(composition, found, 1)
    left = found - (slope * composition + offset)
    assert slope > 0.3
    # What is left is the probe's blur across rims, not thickness.
    assert left.std() < 0.03 * found.std()
    assert np.corrcoef(composition, found)[0, 1] > 0.999


def test_ratio_without_element_is_that_of_the_background(spectra: Spectra) -> None:
    points = np.array([[4e-8, 4e-8], [7e-8, 1e-8]])
    dead = spectra.at(points, PROBE, np.zeros(2))
    np.testing.assert_allclose(ratio(dead), ratio(background()), rtol=1e-12)


def test_damage_lowers_the_edge_in_proportion(spectra: Spectra) -> None:
    point = np.array([[4e-8, 4e-8]])
    none, half, whole = (spectra.at(point, PROBE, np.array([fading])) for fading in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(half - none, (whole - none) / 2, rtol=1e-9, atol=1e-18)
