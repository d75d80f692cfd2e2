"""The example of a server's configuration is one."""

from __future__ import annotations

from pathlib import Path

from beamloop.core.settings import load
from beamloop.instrument_server.settings import ServerSettings

EXAMPLE = Path(__file__).parents[2] / "examples" / "instrument.toml"


def test_the_example_opens_with_a_comment_and_narrows_a_limit() -> None:
    settings = load(EXAMPLE, ServerSettings)
    assert EXAMPLE.read_text().startswith("# ")
    assert settings.instrument.plugin == "simulator"
    assert settings.limits["beam_current_a"].high == 100e-12
