"""A wrong file is one clear line that names the nearest valid key."""

from __future__ import annotations

from pathlib import Path

import pytest

from beamloop.core import Frozen, Region, SettingsInvalid
from beamloop.core.settings import checked, load


class Outer(Frozen):
    name: str
    field: Region | None = None


def test_a_misspelt_key_names_the_nearest() -> None:
    with pytest.raises(SettingsInvalid, match="unknown key 'nmae'; did you mean 'name'"):
        checked({"name": "a", "nmae": "b"}, Outer, "file.toml")


def test_a_misspelt_key_in_a_table_names_the_nearest_of_that_table() -> None:
    wrong = {"name": "a", "field": {"y_m": 0, "x_m": 0, "heigth_m": 1, "width_m": 1}}
    with pytest.raises(SettingsInvalid, match=r"'field.heigth_m'; did you mean 'height_m'"):
        checked(wrong, Outer, "file.toml")


def test_a_wrong_value_is_shown() -> None:
    with pytest.raises(SettingsInvalid, match=r"file.toml: field.width_m = -1"):
        checked({"name": "a", "field": {"y_m": 0, "x_m": 0, "height_m": 1, "width_m": -1}}, Outer, "file.toml")


@pytest.mark.parametrize("text", [None, "name = ", "name = 'a'\n\x00"])
def test_a_file_that_is_missing_or_no_toml_is_named(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsInvalid, match=r"wrong\.toml"):
        load(file, Outer)
