"""The live list of keys: what is let in at which moment, and that a list that cannot be read lets nobody in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beamloop.core import KeyRefused
from beamloop.instrument_server.keys.key_list import LOOK_S, STALE_S, Key, KeyList
from beamloop.instrument_server.keys.making import add_key, change_key, make_folder, revoke_key
from beamloop.instrument_server.keys.place import Place


class Clocks:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.s = 0.0

    def monotonic(self) -> float:
        return self.s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.s)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "keys")
    make_folder(place)
    return place


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def ada(place: Place, tmp_path: Path) -> Key:
    return add_key(place, "ada", "operator", 1.0, tmp_path / "ada.key")


@pytest.fixture
def keys(place: Place, ada: Key, clocks: Clocks) -> KeyList:
    return KeyList(place, clock=clocks.monotonic, now=clocks.now)


def test_a_key_is_known_by_both_its_halves(keys: KeyList, ada: Key) -> None:
    assert keys.key_of(ada.certificate) == keys.key_of(ada.curve) == ada
    assert keys.admit(ada.curve) == keys.admit_new(ada.curve) == "ada"


def test_a_stranger_is_refused(keys: KeyList) -> None:
    with pytest.raises(KeyRefused, match="not on this instrument's list"):
        keys.key_of("0" * 64)


def test_a_revoked_key_is_refused_by_name_within_the_time_of_a_look(
    keys: KeyList, ada: Key, place: Place, clocks: Clocks
) -> None:
    revoke_key(place, "ada")
    clocks.s += 1.01 * LOOK_S
    with pytest.raises(KeyRefused, match="the key 'ada' was revoked"):
        keys.key_of(ada.certificate)
    assert LOOK_S < 1.0


def test_a_file_that_is_removed_by_hand_revokes_too(keys: KeyList, ada: Key, place: Place, clocks: Clocks) -> None:
    (place.listed / "ada.json").unlink()
    clocks.s += 1.01 * LOOK_S
    with pytest.raises(KeyRefused, match="not on this instrument's list"):
        keys.key_of(ada.certificate)


def test_another_role_is_in_force_at_the_next_look(keys: KeyList, ada: Key, place: Place, clocks: Clocks) -> None:
    change_key(place, "ada", "engineer", None)
    clocks.s += 1.01 * LOOK_S
    assert keys.key_of(ada.curve).role == "engineer"


def test_an_expired_key_is_refused_with_its_day_and_what_to_do(keys: KeyList, ada: Key, clocks: Clocks) -> None:
    clocks.s += timedelta(days=1, seconds=1).total_seconds()
    with pytest.raises(KeyRefused, match=r"'ada' expired on \d{4}-\d\d-\d\d .*beamloop keys change ada --days 365"):
        keys.key_of(ada.certificate)


def test_a_list_that_cannot_be_read_is_believed_for_a_second_and_then_lets_nobody_in(
    keys: KeyList, ada: Key, place: Place, clocks: Clocks
) -> None:
    place.listed.rename(place.folder / "gone")
    clocks.s += 0.9 * STALE_S
    assert keys.admit(ada.curve) == "ada"
    clocks.s += 0.2 * STALE_S
    for refused in (keys.admit, keys.admit_new, keys.key_of):
        with pytest.raises(KeyRefused, match=r"the list of keys cannot be read, so nobody is let in: .*listed"):
            refused(ada.curve)


def test_where_no_question_may_read_the_disk_only_new_connections_are_refused_by_an_old_list(
    place: Place, ada: Key, clocks: Clocks
) -> None:
    keys = KeyList(place, reads=False, clock=clocks.monotonic, now=clocks.now)
    revoke_key(place, "ada")
    clocks.s += 10.0
    assert keys.admit(ada.curve) == "ada", "nobody has looked"
    keys.look()
    with pytest.raises(KeyRefused, match="was revoked"):
        keys.admit(ada.curve)
    place.listed.rename(place.folder / "gone")
    clocks.s += 10.0
    with pytest.raises(KeyRefused, match="cannot be read"):
        keys.admit_new(ada.curve)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("{"),
        lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), "role": "king"})),
        lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), "expires": "2030-01-01T00:00:00"})),
        lambda file: file.rename(file.with_name("eve.json")),
    ],
)
def test_a_damaged_file_lets_nobody_in_and_harms_no_other(
    spoil: object, keys: KeyList, ada: Key, place: Place, tmp_path: Path, clocks: Clocks
) -> None:
    bob = add_key(place, "bob", "observer", 1.0, tmp_path / "bob.key")
    assert callable(spoil)
    spoil(place.listed / "ada.json")
    clocks.s += 1.01 * LOOK_S
    assert keys.admit(bob.curve) == "bob"
    with pytest.raises(KeyRefused):
        keys.admit(ada.curve)
