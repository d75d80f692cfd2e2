from __future__ import annotations

import json

from typer.testing import CliRunner

from beamloop.__main__ import command_line
from beamloop.streaming.reduce.warming import DTYPES


def test_warmup_tells_which_dtypes_are_ready_and_finds_nothing_left_to_compile_the_second_time() -> None:
    for _ in range(2):
        done = CliRunner().invoke(command_line("warmup"), ["warmup", "--json"])
        assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["dtypes"] == list(DTYPES)
    assert facts["compiled"] == 0
