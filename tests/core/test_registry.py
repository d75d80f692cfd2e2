"""Plugins are found by name, errors by class name."""

from __future__ import annotations

import pytest

from beamloop.core import BeamloopError, LimitRefused, UnknownName, error_named
from beamloop.core.registry import INSTRUMENTS, find, known


def test_an_unknown_plugin_names_the_nearest_and_the_group() -> None:
    with pytest.raises(
        UnknownName, match=r"no instrument named 'simulater'; did you mean 'simulator'.*beamloop.instruments"
    ):
        find(INSTRUMENTS, "simulater")


def test_our_own_instruments_register_like_everybodys() -> None:
    assert {"simulator", "replay"} <= set(known(INSTRUMENTS))


def test_an_error_finds_its_class_again_and_a_foreign_name_does_not() -> None:
    assert error_named("LimitRefused") is LimitRefused
    for foreign in ("KeyError", "annotations", "error_named", ""):
        assert error_named(foreign) is BeamloopError
