"""A picture made of characters is still a picture of the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.edge_client.reporting.blocks import COLUMNS, ROWS, bars, blocks


def greys(values: np.ndarray) -> np.ndarray:
    """The grey of every pixel, read back from the styles."""
    lines = list(blocks(values))
    rows: list[list[int]] = []
    for line in lines:
        styles = [span.style for span in line.spans]
        rows.append([style.color.triplet.red for style in styles])
        rows.append([style.bgcolor.triplet.red for style in styles])
    return np.array(rows)


@pytest.mark.parametrize("shape", [(6, 8), (48, 64), (200, 300), (1568, 192), (3, 900), (1, 1), (2, 5)])
def test_it_fits_the_terminal_and_keeps_its_proportions(shape: tuple[int, int]) -> None:
    drawn = greys(np.random.default_rng(0).normal(size=shape))
    assert drawn.shape[0] <= ROWS
    assert drawn.shape[1] <= COLUMNS
    together = max(1, -(-shape[0] // ROWS), -(-shape[1] // COLUMNS))
    assert abs(drawn.shape[0] - max(1, shape[0] // together)) <= 1


def test_the_brightest_place_is_white_and_y_runs_down() -> None:
    values = np.zeros((40, 40))
    values[30:, :10] = 1.0
    drawn = greys(values)
    assert (drawn[30:, :10] == 255).all()
    assert (drawn[:30] == 0).all()


def test_what_was_not_recorded_is_black_and_does_not_spoil_the_rest() -> None:
    values = np.arange(40.0).reshape(4, 10)
    values[2, 3] = np.nan
    drawn = greys(values)
    assert drawn[2, 3] == 0
    assert drawn[3, 9] == 255


def test_a_narrow_line_in_a_long_spectrum_stands_out() -> None:
    curve = np.zeros(2048)
    curve[1024] = 7.0
    lines = [str(line) for line in bars(curve)]
    assert {len(line) for line in lines} == {COLUMNS}
    assert [line[COLUMNS // 2] for line in lines] == ["█"] * 4
    assert lines[0].count("█") == 1
