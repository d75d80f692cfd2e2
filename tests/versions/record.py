"""Record what client and server say to each other, as data that later versions are tested against.

Run it with the beamloop whose words are to be kept:

    python tests/versions/record.py tests/versions/control_1_1.json

It uses only what every version has, so that it also records an older one (with that on PYTHONPATH).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import beamloop
from beamloop.core import BeamloopError, GuardReport
from beamloop.edge_client.connection import guard_line
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.control_line import ControlLine

CLIENT = "ada"
POINT = {"kind": "points", "detector": "haadf", "points": [[1e-8, 1e-8]], "dwell_s": 1e-4, "expected": False}
GRID = {"kind": "grid", "detector": "haadf", "shape": [2, 2], "dwell_s": 1e-4, "region": None, "expected": False}

SAID: list[tuple[str, dict[str, Any]]] = [
    ("describe", {}),
    ("state", {}),
    ("acquire", {"plan": POINT, "measurement_id": "m0"}),
    ("lease", {"purpose": "transcript"}),
    ("renew", {}),
    ("set", {"plan": {"kind": "set", "values": {"defocus_m": 1e-8}}}),
    ("set", {"plan": {"kind": "set", "values": {"defocus_m": 1.0}}}),
    ("set", {"plan": {"kind": "set", "values": {"defokus_m": 0.0}}}),
    ("acquire", {"plan": POINT, "measurement_id": "m1"}),
    ("acquire", {"plan": GRID, "measurement_id": "m2"}),
    ("acquire", {"plan": {**POINT, "dwell_s": 1e9}, "measurement_id": "m3"}),
    ("acquire", {"plan": {**POINT, "colour": 1}, "measurement_id": "m4"}),
    ("arm", {}),
    ("state", {}),
    ("release", {}),
    ("state", {}),
]
"""One of everything that 1.0 knew: done, refused for want of a lease, for a limit, for a plan."""


class Tapped(ControlLine):
    """A control line of which every word is kept."""

    kept: list[dict[str, Any]]

    def _sent(self, request: Any) -> Any:
        answer = super()._sent(request)
        self.kept.append({"request": request.model_dump(mode="json"), "reply": answer})
        return answer


def recorded(address: Address) -> dict[str, Any]:
    """Say everything to a server and return what was said on both sides."""
    line, guard = Tapped(address, CLIENT), []
    line.kept = []
    for verb, arguments in SAID:
        try:
            line.ask(verb, arguments)  # type: ignore[arg-type]
        except BeamloopError as refusal:
            print(f"{verb}: {type(refusal).__name__}")
        # The scan before it ends meanwhile.
        time.sleep(0.3)
    with line._proxy() as proxy:
        unknown = proxy.call({"request_id": "u", "client": CLIENT, "verb": "of_the_future", "arguments": {}})
    line.close()
    for word in ("state", "blank", "pause", "stop"):
        report: GuardReport = guard_line.say(address, word)  # type: ignore[arg-type]
        guard.append({"word": word, "report": report.model_dump()})
    return {"beamloop": beamloop.__version__, "control": line.kept, "unknown": unknown, "guard": guard}


def main(file: str) -> None:
    """Start a simulator, record, and write the transcript."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "beamloop", "serve", "simulator", "--port", "0", "--json", "--folder", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            facts = json.loads(server.stdout.readline())
            transcript = recorded(Address("127.0.0.1", facts["port"]))
        finally:
            server.terminate()
            server.wait(15)
    Path(file).write_text(json.dumps(transcript, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
