"""Strangers give way when they are silent or too many; a key gets no more connections than it may have."""

from __future__ import annotations

from beamloop.streaming.crowd import MOST_OF_KEY, MOST_STRANGERS, SILENT_S, Crowd


def test_strangers_are_cut_off_the_oldest_first_when_they_are_too_many() -> None:
    crowd = Crowd()
    for connection in range(MOST_STRANGERS):
        crowd.came(connection, 0.0)
    assert crowd.unwelcome(0.0) == []
    crowd.came(7000, 0.1)
    crowd.came(0, 0.1)
    assert crowd.unwelcome(0.1) == [1], "one that came anew is not the oldest any more"
    crowd.left(1)
    assert crowd.unwelcome(0.1) == []


def test_a_connection_that_says_nothing_is_cut_off_and_one_that_speaks_stays() -> None:
    crowd = Crowd()
    crowd.came(5, 0.0)
    crowd.came(6, 0.0)
    crowd.let_in("ada", 0.0)
    crowd.heard(6, "ada")
    assert crowd.unwelcome(SILENT_S) == []
    assert crowd.unwelcome(SILENT_S + 0.1) == [5]


def test_a_key_gets_no_more_than_its_number_of_connections_and_keeps_out_no_other() -> None:
    crowd = Crowd()
    for connection in range(MOST_OF_KEY):
        crowd.came(connection, 0.0)
        assert crowd.let_in("ada", 0.0)
        if connection % 2:
            crowd.heard(connection, "ada")
    assert not crowd.let_in("ada", 0.0)
    assert crowd.let_in("bob", 0.0)
    crowd.left(1)
    assert crowd.let_in("ada", 0.0), "one has left"
    assert not crowd.let_in("ada", 0.0)
    assert crowd.let_in("ada", SILENT_S), "those that said nothing are cut off by then"


def test_a_descriptor_that_is_used_again_is_another_connection() -> None:
    crowd = Crowd()
    for _ in range(3 * MOST_OF_KEY):
        crowd.came(9, 0.0)
        assert crowd.let_in("ada", 0.0)
        crowd.heard(9, "ada")
        crowd.left(9)
    crowd.came(9, 1.0)
    assert crowd.unwelcome(1.0 + SILENT_S + 0.1) == [9]
