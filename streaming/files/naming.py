"""What a recorded detector is called: a name that a person can type, one for each.

A file that beamloop wrote keeps its own (`haadf`, `eels`). In any other file the only grid of
spectra is called `spectrum`, the only grid of camera frames `diffraction`, and an image after
its quantity (`height_retrace`), else after its title (`haadf`), else `image`. Where two would
share a name, the title or the name of their group in the file decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from .found import Found
from .recorded import RecordedDetector
from .scales import slug

_SAYS_NOTHING = ("", "intensity", "generic", "unknown", "counts", "image")


def named(detectors: Iterable[tuple[RecordedDetector, Found]]) -> list[RecordedDetector]:
    """Return the detectors of one file under different names, in the same order."""
    pairs = list(detectors)
    wished = [detector.name or _natural(detector, found) for detector, found in pairs]
    times = Counter(wished)
    unique = [
        name if times[name] == 1 else _titled(found) or slug(f"/{found.path}".rsplit("/", 2)[-2]) or name
        for name, (_, found) in zip(wished, pairs, strict=True)
    ]
    again = Counter(unique)
    return [
        replace(detector, name=name if again[name] == 1 else f"{name}_{i}")
        for i, (name, (detector, _)) in enumerate(zip(unique, pairs, strict=True))
    ]


def apart(detectors: Iterable[RecordedDetector]) -> list[RecordedDetector]:
    """Return detectors of several files under different names: a later one takes that of its file as well."""
    taken: dict[str, RecordedDetector] = {}
    for detector in detectors:
        name = detector.name if detector.name not in taken else f"{detector.name}_{slug(detector.file.stem)}"
        tried = (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3)))
        name = next(n for n in tried if n not in taken)
        taken[name] = replace(detector, name=name)
    return list(taken.values())


def _natural(detector: RecordedDetector, found: Found) -> str:
    if detector.kind != "image":
        return "diffraction" if [axis.name for axis in detector.frame_axes[-2:]] == ["v", "u"] else "spectrum"
    name = slug(found.quantity)
    return (_titled(found) or "image") if name in _SAYS_NOTHING else name


def _titled(found: Found) -> str:
    """Return the title as a name, without the number that some programs put first and the word image."""
    words = slug(re.sub(r"^[\d\W_]+", "", found.title))
    return words.removesuffix("_image")
