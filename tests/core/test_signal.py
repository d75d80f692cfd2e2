"""Axes and signals: calibrated, checked."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from beamloop.core import Axis, FrameShapeWrong, Signal


def test_an_even_axis_is_offset_plus_steps() -> None:
    axis = Axis(name="energy_loss", size=4, units="eV", offset=350.0, scale=0.5)
    np.testing.assert_array_equal(axis.coordinates(), [350.0, 350.5, 351.0, 351.5])


def test_an_uneven_axis_lists_every_coordinate() -> None:
    axis = Axis(name="bias", size=3, units="V", values=(0.0, 5.0, -5.0))
    np.testing.assert_array_equal(axis.coordinates(), [0.0, 5.0, -5.0])
    with pytest.raises(ValidationError, match="has size 3 but 2 values"):
        Axis(name="bias", size=3, values=(0.0, 1.0))


def test_an_axis_survives_its_dump() -> None:
    axis = Axis(name="x", size=2, units="m", quantity="length", offset=1e-9, scale=2e-9)
    assert Axis.model_validate(axis.model_dump()) == axis


def test_a_signal_refuses_axes_that_do_not_fit() -> None:
    axes = (Axis(name="y", size=2), Axis(name="x", size=3))
    with pytest.raises(FrameShapeWrong, match=r"shape \(3, 2\) do not fit axes \(y, x\)"):
        Signal(np.zeros((3, 2)), axes)
