"""The results of reductions as an NSID file that says where each comes from.

Everything is written under another name first, so that nobody ever finds half a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import h5py
import numpy as np

from ... import __version__
from ...core import Axis, OutputExists, Signal, StorageFailed
from ...core.registry import REDUCTIONS
from ...streaming.files import RecordedDetector, customary, write_signal
from ..plugins import installed
from .spelling import Wanted

HASHED_BYTES = 1 << 30
"""Larger files are known by size and date alone: their checksum would take longer than the reduction."""

Results = Mapping[str, Mapping[str, Signal]]


@dataclass(frozen=True, slots=True)
class Source:
    """What was reduced, so that it can be known again.

    Attributes
    ----------
    detector, simulated
        The detector, and whether its frames are simulated.
    told
        Where the frames come from, by names that go into the file: of a file its name without folders, its size, when
        it was last changed (ISO 8601, UTC), its checksum if it is no larger than `HASHED_BYTES`, and the dataset.
    """

    detector: str
    simulated: bool
    told: Mapping[str, str | int]

    @classmethod
    def of(cls, path: Path, recorded: RecordedDetector) -> Source:
        """Return what tells a recorded detector."""
        found = path.stat()
        modified = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
        sha256 = ""
        if found.st_size <= HASHED_BYTES:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        told = {"source_file": path.name, "source_bytes": found.st_size, "source_modified": modified}
        told |= {"source_sha256": sha256, "source_dataset": recorded.path}
        return cls(recorded.name, recorded.simulated, told)


def kept(results: Results) -> dict[str, Signal]:
    """Return what goes into the file, by name: all but single numbers and errors that are nowhere known.

    A reduction's `value` takes its plain name; numbers are in the units that files carry.
    """
    found = {}
    for name, outputs in results.items():
        for key, signal in outputs.items():
            unknown = key == "std" and np.isnan(signal.data).all()
            if signal.axes and not unknown:
                found[name if key == "value" else f"{name}_{key}"] = _carried(signal)
    return found


def _carried(signal: Signal) -> Signal:
    """Return a signal in the units that files carry; a mask that hides nothing is left out."""
    carried = customary(Axis(name="value", size=1, units=signal.units))
    # Counts and the like stay whole numbers.
    data = signal.data if carried.units == signal.units else signal.data * carried.scale
    valid = None if signal.valid is None or signal.valid.all() else signal.valid
    return replace(signal, data=data, units=carried.units, valid=valid)


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise unless all outputs are new.

    Raises
    ------
    OutputExists
        If one is there.
    """
    for path in paths:
        if path.exists():
            raise OutputExists(f"{path} already exists; nothing is written over, choose another name with -o or --plot")


def write_results(output: Path, results: Results, wanted: Sequence[Wanted], source: Source) -> None:
    """Write every result as a main dataset of its own, with its provenance.

    Raises
    ------
    StorageFailed
        If the folder is missing or read-only, or the disk is full.
    """
    beside = output.with_name(f".{output.name}.part")
    plain = {one.name: one for one in wanted}
    try:
        with h5py.File(beside, "w") as file:
            number = count()
            for name, outputs in results.items():
                told = _provenance(plain[name], source)
                for result, signal in kept({name: outputs}).items():
                    marked = replace(signal, metadata=signal.metadata | _facts(source, told))
                    write_signal(file, f"Channel_{next(number):03d}", result, marked)
        refuse_existing([output])
        beside.replace(output)
    except OSError as error:
        raise StorageFailed(f"{output} cannot be written: {error}; choose another place with -o") from None
    finally:
        # Where nothing can be written nothing was left.
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _facts(source: Source, told: Mapping[str, str | int]) -> dict[str, object]:
    return {"simulated": source.simulated, "detector": source.detector, "reduced_by": dict(told)}


def _provenance(one: Wanted, source: Source) -> dict[str, str | int]:
    plugin = installed(REDUCTIONS, one.plugin, one.settings)
    return {
        **source.told, "asked": one.words, "reduction": plugin.name, "entry": plugin.entry, "version": plugin.version,
        "settings": json.dumps(plugin.settings), "beamloop_version": __version__,
    }  # fmt: skip
