"""The verdict: no change of an audit goes unnoticed, and a whole one is never blamed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import RecordingUnreadable
from beamloop.instrument_server.audit import Link, verdict_on

from .folders import noted


def test_a_whole_audit_has_no_problems_in_one_file_or_many(tmp_path: Path) -> None:
    for full, files in ((1 << 24, 1), (600, 5)):
        verdict = verdict_on(noted(tmp_path / str(full), 10, full))
        assert (verdict.problems, verdict.remarks) == ((), ())
        assert len(verdict.files) == files
        assert verdict.lines == 10 + files


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    folder = noted(tmp_path / "whole", 2)
    for file in folder.iterdir():
        data = bytearray(file.read_bytes())
        for bit in range(8 * len(data)):
            data[bit // 8] ^= 1 << bit % 8
            file.write_bytes(data)
            assert verdict_on(folder).problems, f"bit {bit} of {file.name}"
            data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
    assert verdict_on(folder).problems == ()


def test_a_flipped_bit_in_any_of_many_files_is_noticed(tmp_path: Path) -> None:
    folder, rng = noted(tmp_path / "whole", 12, full=500), random.Random(0)
    files = sorted(folder.iterdir())
    assert len(files) > 4
    for _ in range(300):
        file = rng.choice(files)
        data = file.read_bytes()
        bit = rng.randrange(8 * len(data))
        file.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :])
        assert verdict_on(folder).problems, f"bit {bit} of {file.name}"
        file.write_bytes(data)


changes = st.sampled_from(["remove", "duplicate", "swap", "cut", "truncate", "insert"])


@settings(max_examples=150, deadline=None)
@given(change=changes, many=st.booleans(), data=st.data())
def test_every_line_removed_duplicated_moved_cut_or_added_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, change: str, many: bool, data: st.DataObject
) -> None:
    folder = noted(tmp_path_factory.mktemp("audit") / "whole", 8, 600 if many else 1 << 24)
    file = data.draw(st.sampled_from(sorted(folder.glob("*.jsonl"))))
    lines = file.read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    before = list(lines)
    if change == "remove":
        del lines[at]
    elif change == "duplicate":
        lines.insert(at, lines[at])
    elif change == "swap":
        other = data.draw(st.integers(0, len(lines) - 1))
        lines[at], lines[other] = lines[other], lines[at]
    elif change == "cut":
        lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at]) - 1))]
    elif change == "truncate":
        del lines[at:]
    else:
        lines.insert(at, json.dumps({"number": at + 1, "event": "done", "hash": "0" * 64}).encode() + b"\n")
    file.write_bytes(b"".join(lines))
    assert bool(verdict_on(folder).problems) == (lines != before)
    shutil.rmtree(folder)


def test_the_first_bad_line_is_named_with_what_was_found_and_expected(tmp_path: Path) -> None:
    folder = noted(tmp_path, 4)
    lines = (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)
    was = json.loads(lines[2])["hash"]
    lines[2] = lines[2].replace(b"ada", b"eve")
    (folder / "audit.jsonl").write_bytes(b"".join(lines))
    problem = verdict_on(folder).problems[0]
    assert problem.startswith(f"audit.jsonl line 3: found hash {was}, expected hash ")


def test_a_file_put_aside_that_is_gone_or_changed_is_named(tmp_path: Path) -> None:
    folder = noted(tmp_path, 12, full=500)
    second = folder / "audit-000002.jsonl"
    kept = second.read_bytes()
    second.unlink()
    assert "follows audit-000002.jsonl, and it comes after audit-000001.jsonl" in " ".join(verdict_on(folder).problems)
    second.write_bytes(kept + b"{}\n")
    assert "is not as it was when audit-000003.jsonl was begun" in " ".join(verdict_on(folder).problems)


def test_an_end_that_was_cut_off_is_told_by_the_head(tmp_path: Path) -> None:
    folder = noted(tmp_path, 4)
    file = folder / "audit.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    assert verdict_on(folder).problems[0].startswith("line 5: found no such line, the last is 3, expected hash")
    (folder / "audit.head").unlink()
    assert "audit.head is missing" in verdict_on(folder).problems[0]


def test_whoever_writes_everything_anew_is_shown_by_a_witness_only(tmp_path: Path) -> None:
    head = verdict_on(noted(tmp_path / "true", 6)).head
    forged = noted(tmp_path / "forged", 9)
    assert verdict_on(forged).problems == (), "a chain alone cannot show it, and the documentation says so"
    assert verdict_on(forged, Link(head.number, "f" * 64)).problems[0].endswith("as the head that was given says")
    assert verdict_on(tmp_path / "true", head).problems == ()


def test_one_file_alone_is_checked_without_its_end(tmp_path: Path) -> None:
    folder = noted(tmp_path, 12, full=500)
    verdict = verdict_on(folder / "audit-000002.jsonl")
    assert verdict.problems == ()
    assert "goes on from audit-000001.jsonl" in verdict.remarks[0]
    assert "looked at alone" in verdict.remarks[1]


def test_a_folder_without_an_audit_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="holds no audit"):
        verdict_on(tmp_path)
    with pytest.raises(RecordingUnreadable, match="holds no audit"):
        verdict_on(tmp_path / "nowhere")
