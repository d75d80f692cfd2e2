"""What an instrument is doing when a command comes: what the limits judge beside the command itself.

A value like any other, so the command and the dry run are judged by the same function, and
time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Situation:
    """The instrument at one moment; one of which nothing is known has no values and a dark beam.

    Attributes
    ----------
    values
        Present values by parameter name, SI units; one that is not there is not known.
    beam_dark
        Whether the beam was read back as blanked; a beam of which nobody knows is not dark.
    acquiring
        Whether a scan is under way.
    travelled
        How far parameters have moved within the last second, by name.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    beam_dark: bool = True
    acquiring: bool = False
    travelled: Mapping[str, float] = field(default_factory=dict)
