"""Policies and reductions are made from checked settings."""

from __future__ import annotations

import pytest

from beamloop.core import Pool, SettingsInvalid, UnknownName
from beamloop.core.registry import POLICIES, REDUCTIONS
from beamloop.edge_client.plugins import installed, made


def test_a_policy_gets_its_pool_seed_and_settings(pool: Pool) -> None:
    policy = made(POLICIES, "gp-coordinates", {"first": 4}, "[policy.settings]", pool, 1)
    assert "of 4" in policy.suggest(()).why


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"frst": 4}, r"\[policy.settings\]: unknown key 'frst'; did you mean 'first'"),
        ({"first": "four"}, "first = 'four'"),
        ({"acquisition": "log-e"}, "did you mean 'log-ei'"),
    ],
)
def test_a_wrong_setting_of_a_policy_is_named(pool: Pool, settings: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told):
        made(POLICIES, "gp-coordinates", settings, "[policy.settings]", pool, 1)


def test_an_unknown_plugin_is_named() -> None:
    with pytest.raises(UnknownName, match=r"beamloop\.reductions"):
        made(REDUCTIONS, "telepathy", {}, "")


def test_what_is_installed_says_where_it_came_from() -> None:
    plugin = installed(REDUCTIONS, "sum", {"a": 1})
    assert plugin.entry == "beamloop.streaming.reduce.total:Total"
    assert plugin.settings == {"a": 1}
    assert plugin.version[0].isdigit()
