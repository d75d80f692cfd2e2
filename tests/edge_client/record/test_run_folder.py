"""Run folders are new, or refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from beamloop.core import OutputExists
from beamloop.edge_client.record.run_folder import new_run_folder

THEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_run_folder_is_named_by_date_and_experiment(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path / "runs", "iron", THEN, "text = 1")
    assert folder.path == tmp_path / "runs" / "2026-03-04-050607_iron"
    assert folder.experiment.read_text() == "text = 1"


def test_a_run_folder_that_exists_is_refused_and_untouched(tmp_path: Path) -> None:
    new_run_folder(tmp_path, "iron", THEN, "first")
    with pytest.raises(OutputExists, match="never written over"):
        new_run_folder(tmp_path, "iron", THEN, "second")
    assert (tmp_path / "2026-03-04-050607_iron" / "experiment.toml").read_text() == "first"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(OutputExists, match="runs"):
        new_run_folder(tmp_path / "runs", "iron", THEN, "")
