"""Values that nobody sends on purpose: no numbers, endless ones, wrong types, terminal codes, plans for words."""

from __future__ import annotations

import math

ODD = (
    math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 2**70, 10**400, -1, 0, True, None, "", "1e-7", "x" * 500,
    "\x1b[2J", "set", "ada/pc", b"bytes", [], [1, [2, [3]]], {}, {"a": {"b": {}}},
    {"kind": "set", "values": {"bias_v": 0}}, {"__class__": "x"}, {1: 2}, "\ud800", (1, 2),
    {"limits.bias_v.high": 1.0},
)  # fmt: skip
