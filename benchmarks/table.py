"""Write the table in README.md from the JSON lines that the benchmarks print.

python benchmarks/loop.py --json > loop.jsonl; python benchmarks/table.py loop.jsonl regret.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

README = Path(__file__).with_name("README.md")
START, END = "<!-- table -->", "<!-- end of table -->"


def row(figure: dict) -> str:
    """Return one figure as a line of the table."""
    goal, peer = figure["goal"], figure["peer"]
    sign = ">=" if figure["better"] == "higher" else "<="
    spread = "" if figure["spread"] is None else f"{figure['spread']:.0%}"
    beside = "" if peer is None else f"{peer}: {figure['peer_value']:.4g}"
    cells = (
        f"`{figure['figure']}`", f"{figure['ours']:.4g} {figure['unit']}", "" if goal is None else f"{sign} {goal:g}",
        beside, str(figure["n"]), spread,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Read the files named on the command line and rewrite the table."""
    lines = [json.loads(line) for name in sys.argv[1:] for line in Path(name).read_text().splitlines()]
    machine = next(line for line in lines if "machine" in line)
    head = [
        f"{machine['cores']} cores {machine['machine']}, Python {machine['python']}, load {machine['load']:.1f}.",
        "", "| figure | ours | goal | beside | n | spread |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    table = "\n".join([*head, *(row(line) for line in lines if "figure" in line)])
    before, rest = README.read_text().split(START)
    README.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
