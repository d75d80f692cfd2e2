from __future__ import annotations

import pytest

from beamloop.core import Axis
from beamloop.streaming.files import customary, si_units


@pytest.mark.parametrize(
    ("text", "units", "factor"),
    [
        ("m", "m", 1.0),
        ("nm", "m", 1e-9),
        ("n_m", "m", 1e-9),
        ("um", "m", 1e-6),
        (r"$\mu m$", "m", 1e-6),
        ("micron", "m", 1e-6),
        ("pm", "m", 1e-12),
        ("cm", "m", 1e-2),
        ("mm", "m", 1e-3),
        ("Å", "m", 1e-10),
        ("\u212b", "m", 1e-10),
        ("\u00b5m", "m", 1e-6),
        ("\u03bcm", "m", 1e-6),
        ("angstrom", "m", 1e-10),
        ("1 / nm", "1/m", 1e9),
        ("1/nm", "1/m", 1e9),
        ("nm^-1", "1/m", 1e9),
        ("nm-1", "1/m", 1e9),
        ("nm**-1", "1/m", 1e9),
        ("1/(nm)", "1/m", 1e9),
        ("Å^-1", "1/m", 1e10),
        ("mrad", "rad", 1e-3),
        ("eV", "eV", 1.0),
        ("keV", "eV", 1e3),
        ("V", "V", 1.0),
        ("mV", "V", 1e-3),
        ("ms", "s", 1e-3),
        ("kHz", "Hz", 1e3),
        ("nA", "A", 1e-9),
        ("A", "A", 1.0),
        ("Counts", "counts", 1.0),
        ("", "", 1.0),
        ("px", "", 1.0),
        ("generic", "", 1.0),
        ("a.u.", "a.u.", 1.0),
        ("$A/m^2$", "A/m^2", 1.0),
        ("$(V/m)^{0.5}$", "(V/m)^0.5", 1.0),
        ("furlong", "furlong", 1.0),
    ],
)
def test_every_spelling_that_files_carry_is_known(text: str, units: str, factor: float) -> None:
    found, found_factor = si_units(text)
    assert (found, found_factor) == (units, factor)


def test_an_a_is_an_angstrom_only_where_nothing_but_a_length_can_be_meant() -> None:
    assert si_units("$A^{-1}$", of_length=True) == ("1/m", pytest.approx(1e10))
    assert si_units("A", of_length=True) == ("m", 1e-10)


def test_degrees_become_radians() -> None:
    units, factor = si_units("deg")
    assert (units, 180 * factor) == ("rad", pytest.approx(3.141592653589793))


@pytest.mark.parametrize(
    ("units", "written", "scale"), [("m", "nm", 2e9), ("1/m", "1/nm", 2e-9), ("rad", "mrad", 2e3), ("eV", "eV", 2.0)]
)
def test_what_is_written_in_customary_units_is_the_same_axis(units: str, written: str, scale: float) -> None:
    axis = Axis(name="x", size=2, units=units, offset=3.0, scale=2.0)
    found = customary(axis)
    back, factor = si_units(found.units)
    assert (found.units, found.scale, back) == (written, pytest.approx(scale), units)
    assert found.offset * factor == pytest.approx(3.0)


def test_uneven_axes_are_converted_value_by_value() -> None:
    found = customary(Axis(name="x", size=2, units="m", values=(1e-9, 5e-9)))
    assert found.values == pytest.approx((1.0, 5.0))
