"""Stored answers: one to a request, whatever dies or fails in between."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from beamloop.core import OutputExists, RecordingUnreadable, Reply, StorageFailed
from beamloop.core.storage import Connect, Durability
from beamloop.instrument_server import answers as module
from beamloop.instrument_server.answers import Answers

from ..failing_disk import CRASHES, Disk

# SQLite passes over some errors of the disk, as of a checkpoint; apsw then complains into the air.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

OLD = Path(__file__).parent / "data" / "answers_1.sqlite"
LIVES = 5


def done(number: int) -> Reply:
    return Reply(status="done", value={"scan": {"scan_id": f"s{number:06d}"}, "why": "." * (number * 97 % 2000)})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


@pytest.fixture
def answers(file: Path) -> Iterator[Answers]:
    made = Answers(file)
    yield made
    made.close()


def reopened(file: Path, answers: Answers) -> Answers:
    answers.close()
    return Answers(file)


def test_an_answer_is_the_first_one_for_ever(file: Path, answers: Answers) -> None:
    assert answers.of("r1") is None
    answers.begin("r1")
    answers.store("r1", done(1))
    answers.begin("r1")
    answers.store("r1", done(2))
    assert answers.of("r1") == done(1)
    again = reopened(file, answers)
    assert (again.of("r1"), again.of("r2"), again.interrupted()) == (done(1), None, ())
    again.close()


def test_what_was_begun_and_not_answered_is_interrupted(file: Path, answers: Answers) -> None:
    for name in ("r1", "r2", "r3"):
        answers.begin(name)
    answers.store("r2", done(2))
    assert [answers.of(name) is not None for name in ("r1", "r2", "r4")] == [True, True, False]
    again = reopened(file, answers)
    assert again.interrupted() == ("r1", "r3")
    reply = again.of("r3")
    assert reply is not None
    assert (reply.status, reply.error) == ("failed", "Interrupted")
    assert "request r3 was begun" in reply.message
    last = reopened(file, again)
    assert last.interrupted() == (), "each is told once"
    assert last.of("r3") == reply
    last.close()


def test_a_request_that_died_without_the_server_is_interrupted_too(answers: Answers) -> None:
    answers.begin("r1")
    reply = answers.of("r1")
    assert reply is not None
    assert reply.error == "Interrupted"


def test_old_answers_are_forgotten(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    for number in range(25):
        answers.begin(f"r{number}")
        answers.store(f"r{number}", done(number))
    assert [number for number in range(25) if answers.of(f"r{number}")] == list(range(15, 25))


def test_a_file_of_format_1_is_taken_over(file: Path) -> None:
    shutil.copy(OLD, file)
    for _ in range(2):
        answers = Answers(file)
        assert answers.of("me/m0001") == Reply(status="done", value={"scan": {"scan_id": "s000001"}})
        assert answers.of("me/m0002") == Reply(status="refused", error="LimitRefused", message="too far")
        assert answers.interrupted() == ()
        answers.close()


def test_two_servers_never_share_a_file(file: Path, answers: Answers) -> None:
    with pytest.raises(OutputExists, match=r"answers\.sqlite is in use; another server"):
        Answers(file)
    answers.begin("r1")


def test_a_newer_file_says_what_to_install(file: Path, answers: Answers) -> None:
    answers.close()
    rows = sqlite3.connect(file)
    rows.execute("PRAGMA user_version = 9")
    rows.close()
    with pytest.raises(RecordingUnreadable, match="format 9, this beamloop reads up to 3; install"):
        Answers(file)


def test_a_flipped_bit_is_told_or_harmless(file: Path, tmp_path: Path) -> None:
    answers = Answers(file)
    expected = {f"r{number}": done(number) for number in range(20)}
    for name, reply in expected.items():
        answers.begin(name)
        answers.store(name, reply)
    answers.close()
    whole, told = file.read_bytes(), 0
    for seed in range(10 * CRASHES):
        rng, content = random.Random(seed), bytearray(whole)
        content[rng.randrange(100 if rng.random() < 0.2 else len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
        try:
            with closing(Answers(file)) as answers:
                assert {name: answers.of(name) for name in expected} == expected, f"seed {seed}"
        except RecordingUnreadable:
            told += 1
        for part in ("-wal", "-shm", "-journal"):
            file.with_name(file.name + part).unlink(missing_ok=True)
    assert told > CRASHES


def test_what_is_no_file_of_answers_is_told(file: Path) -> None:
    file.write_bytes(b"not a database " * 100)
    with pytest.raises(RecordingUnreadable, match=r"is damaged: .*not a database.* move the file away"):
        Answers(file)


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"could not be written: No such file .* go on$"):
        Answers(tmp_path / "nothing" / "answers.sqlite")


class Server:
    """Begins and answers requests on a disk, and remembers what was acknowledged."""

    def __init__(self) -> None:
        self.number, self.begun, self.answered = 0, set[int](), set[int]()

    def work_on(self, file: Path, durability: Durability, connect: Connect) -> None:
        answers = Answers(file, durability, connect)
        while True:
            self.number += 1
            answers.begin(f"r{self.number}")
            self.begun.add(self.number)
            answers.store(f"r{self.number}", done(self.number))
            self.answered.add(self.number)

    def lost(self, answers: Answers) -> int:
        """Count what was acknowledged and is not there any more; the rest must be right."""
        lost = 0
        for number in range(1, self.number + 1):
            found = answers.of(f"r{number}")
            interrupted = found is not None and found.error == "Interrupted"
            assert found is None or interrupted or found == done(number)
            lost += found is None and number in self.begun
            lost += interrupted and number in self.answered
        return lost


def lost_in_power_cuts(seed: int, parent: Path, durability: Durability, synchronous: str | None) -> int:
    rng, server, lost = random.Random(seed), Server(), 0
    folder = parent / "0"
    folder.mkdir(parents=True)
    for life in range(1, LIVES + 1):
        after, end = parent / str(life), rng.randrange(25, 150)
        disk = Disk(folder, synchronous)

        def trouble(call: int, disk: Disk = disk, after: Path = after, end: int = end) -> None:
            if call == end:
                disk.cut(after, rng)
            if call >= end:
                raise apsw.exception_for(apsw.SQLITE_IOERR)

        disk.trouble = trouble
        with disk.mounted() as connect, pytest.raises(StorageFailed):
            server.work_on(folder / "answers.sqlite", durability, connect)
        folder = after
        answers = Answers(folder / "answers.sqlite", durability)
        lost += server.lost(answers)
        answers.close()
        server = Server()
        server.number = 1000 * life
    return lost


@pytest.mark.parametrize(
    ("durability", "synchronous", "loses"), [("power", None, False), ("process", None, True), ("power", "OFF", True)]
)
def test_a_power_cut_loses_nothing_with_power(
    durability: Durability, synchronous: str | None, loses: bool, tmp_path: Path
) -> None:
    lost = damaged = 0
    for seed in range(CRASHES // LIVES):
        print(f"seed {seed}")
        try:
            lost += lost_in_power_cuts(seed, tmp_path / str(seed), durability, synchronous)
        except RecordingUnreadable as error:
            print(error)
            damaged += 1
    print(f"{durability}, synchronous {synchronous or 'as asked'}: {lost} lost, {damaged} damaged")
    assert (lost + damaged > 0) == loses
    assert damaged == 0 or synchronous == "OFF"


@pytest.mark.parametrize(("code", "times"), [(apsw.SQLITE_FULL, 1), (apsw.SQLITE_IOERR, 2), (apsw.SQLITE_FULL, 30)])
def test_a_failing_disk_never_answers_wrongly(code: int, times: int, tmp_path: Path) -> None:
    first, failures = 0, 1
    while failures or first < 40:
        first, failures = first + 1, 0
        folder = tmp_path / str(first)
        folder.mkdir()
        disk = Disk(folder)
        disk.fail_at(first, times, code)
        with disk.mounted() as connect:
            answers: Answers | None = None
            begun, answered = set[int](), set[int]()
            for number in range(1, 6):
                for _ in range(100):
                    try:
                        answers = answers or Answers(folder / "answers.sqlite", "power", connect)
                        assert number in begun or answers.of(f"r{number}") is None, f"call {first}: was never begun"
                        answers.begin(f"r{number}")
                        begun.add(number)
                        answers.store(f"r{number}", done(number))
                        answered.add(number)
                        break
                    except StorageFailed:
                        failures += 1
            assert answers is not None
            assert [answers.of(f"r{n}") for n in range(1, 6)] == [done(n) for n in range(1, 6)], f"call {first}"
            after = folder / "power gone"
            disk.cut(after, random.Random(first))
            answers.close()
        answers = Answers(after / "answers.sqlite")
        assert [answers.of(f"r{n}") for n in range(1, 6)] == [done(n) for n in range(1, 6)], f"call {first}"
        answers.close()


SERVER = """
import sys
from pathlib import Path
from beamloop.core import Reply
from beamloop.instrument_server.answers import Answers
answers = Answers(Path(sys.argv[1]), "process")
number = int(sys.argv[2])
while True:
    answers.begin(f"r{number}")
    print("begun", number, flush=True)
    answers.store(f"r{number}", Reply(status="done", value={"number": number}))
    print("answered", number, flush=True)
    number += 1
"""


KILLS = int(os.environ.get("BEAMLOOP_CRASHES", "4"))


@pytest.mark.timeout(60 + 3 * KILLS)
def test_a_killed_server_knows_what_it_began_and_answered(file: Path) -> None:
    rng, number = random.Random(0), 1
    for kill in range(KILLS):
        command = [sys.executable, "-c", SERVER, str(file), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            said = [server.stdout.readline() for _ in range(rng.randrange(1, 200))]
            server.kill()
            said += [line for line in server.stdout.readlines() if line.endswith("\n")]
        answers = Answers(file)
        interrupted = answers.interrupted()
        assert len(interrupted) <= 1
        for word, name in map(str.split, said):
            found = answers.of(f"r{name}")
            assert found is not None, f"kill {kill}: {word} {name}"
            if word == "answered":
                assert found.value == {"number": int(name)}
        number = 1 + max(n for n in range(number, number + 1000) if answers.of(f"r{n}") is not None)
        answers.close()
