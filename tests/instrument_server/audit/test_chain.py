"""The chain: hashes recomputed here, from the description alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from beamloop.instrument_server.audit.chain import FIRST, Fault, Link, followed, hash_of, sealed

from .folders import noted


def test_a_line_is_json_whose_hash_covers_the_line_before_and_its_own_bytes(tmp_path: Path) -> None:
    previous = "0" * 64
    for number, line in enumerate((noted(tmp_path, 3) / "audit.jsonl").read_text().splitlines(), 1):
        said = json.loads(line)
        body = line[: line.rindex(',"hash":"')]
        assert said["hash"] == hashlib.sha256((previous + body).encode()).hexdigest()
        assert list(said)[:3] == ["number", "time", "event"]
        assert said["number"] == number
        previous = said["hash"]


def test_a_hash_within_the_facts_is_not_taken_for_the_lines_own() -> None:
    line = sealed({"number": 1, "message": '","hash":"' + "a" * 64}, FIRST)
    assert hash_of(line) == json.loads(line)["hash"] != "a" * 64


def test_a_line_of_the_right_hash_and_the_wrong_number_is_a_fault() -> None:
    first = sealed({"number": 1}, FIRST)
    said = hash_of(first)
    assert said is not None
    for wrong in ({"number": 3}, {"number": "2"}, {}, {"n": 2}):
        steps = list(followed([first, sealed(wrong, said)], FIRST, 0))
        assert steps[0] == Link(1, said)
        assert isinstance(steps[1], Fault)
        assert steps[1].expected == "line number 2"
