"""Open a recorded NSID file as a set of detectors over one field of view.

The file is looked through once: every main dataset with a grid in space becomes a detector,
and what had to be guessed about it is kept in `notes` for a person to read.

Names of detectors. A file that beamloop wrote keeps its own (`haadf`, `eels`). In any other
file the only spectral grid is called `spectrum`, the only grid of larger frames
`diffraction`, and an image after its quantity (`height_retrace`), or `image` if that says
nothing; where two would share a name, the name of their HDF5 group decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 -- registers the decompressor of Bitshuffle with HDF5
import numpy as np
from numpy.typing import NDArray

from ...core.closing import Closing
from ...core.errors import RecordingUnreadable
from ...core.nearest import nearest
from ...core.signal import Axis
from .nsid import LONG, VALID, group_of
from .recorded import Layout, RecordedDetector
from .scales import Scale, even_axis, frame_dimensions, scales_of, scan_dimensions, slug, text_of
from .units import si_units

NOMINAL_M = 1e-9
"""Step that stands for a pixel where a file tells no length."""

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises on files that are cut off or overwritten."""

_MAIN = ("quantity", "units", "data_type")


@dataclass(frozen=True)
class Recording(Closing):
    """An open recording; for one thread; close it, or use it as a context.

    Attributes
    ----------
    path
        The file.
    detectors
        Everything recorded on a grid, in the file's order.
    notes
        What was missing or odd, and what was taken instead; one line each.
    """

    path: Path
    detectors: tuple[RecordedDetector, ...]
    notes: tuple[str, ...]
    _file: h5py.File

    @property
    def main(self) -> RecordedDetector:
        """The grid of spectra or frames with most positions; the first image if there are only images."""
        grids = [detector for detector in self.detectors if detector.kind != "image"]
        return max(grids, key=lambda detector: detector.valid.size) if grids else self.detectors[0]

    @property
    def overview(self) -> RecordedDetector | None:
        """The first image that covers the main grid; None if there is none."""
        return next((d for d in self.detectors if d.kind == "image" and _covers(d, self.main)), None)

    def detector(self, name: str) -> RecordedDetector:
        """Return the detector of this name.

        Raises
        ------
        RecordingUnreadable
            If there is none; the message names the nearest.
        """
        found = {detector.name: detector for detector in self.detectors}
        if name not in found:
            raise RecordingUnreadable(f"{self.path} holds no detector {name!r}{nearest(name, found)}")
        return found[name]

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def open_recording(path: Path) -> Recording:
    """Open a recorded file for reading.

    Raises
    ------
    RecordingUnreadable
        If the file is missing, cut off, corrupt, no HDF5, or holds nothing recorded on a grid.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingUnreadable(f"no such recording: {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RecordingUnreadable(_why_closed(path, error)) from None
    try:
        detectors, notes = _look_through(file)
    except _DAMAGE as error:
        file.close()
        raise RecordingUnreadable(f"{path} is corrupt: HDF5 says {_one_line(error)}") from None
    if not detectors:
        file.close()
        found = "; ".join(notes) or f"none of its datasets has the NSID attributes {', '.join(_MAIN)}"
        raise RecordingUnreadable(f"{path} holds nothing recorded on a grid of positions: {found}")
    return Recording(path, tuple(detectors), tuple(notes), file)


def _why_closed(path: Path, error: OSError) -> str:
    with path.open("rb") as raw:
        start = raw.read(8)
    if start != b"\x89HDF\r\n\x1a\n":
        return f"{path} is no HDF5 file (it starts with {start!r}); recordings are NSID files, .h5 or .hf5"
    if "truncated" in str(error):
        return f"{path} is cut off, copy it again: HDF5 says {_one_line(error)}"
    return f"{path} is corrupt: HDF5 says {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _look_through(file: h5py.File) -> tuple[list[RecordedDetector], list[str]]:
    tables = {dataset.name: (dataset, scales_of(dataset)) for dataset in _main_datasets(file)}
    known_lengths = {_key(s): s for _, scales in tables.values() for s in scales if s.si[0] == "m"}
    detectors: list[RecordedDetector] = []
    notes: list[str] = []
    for path, (dataset, scales) in tables.items():
        scan = scan_dimensions(scales)
        if scan is None or dataset.dtype.kind not in "biuf":
            names = ", ".join(scale.name for scale in scales)
            notes.append(f"{path} ({names}; {dataset.dtype}) is no grid of numbers over y and x and was passed over")
            continue
        detectors.append(_detector(dataset, scales, scan, known_lengths, notes))
    return _renamed(detectors), notes


def _main_datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    found: list[h5py.Dataset] = []

    def keep(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.size and all(key in item.attrs for key in _MAIN):
            found.append(item)

    file.visititems(keep)
    return iter(found)


def _detector(
    dataset: h5py.Dataset, scales: list[Scale], scan: tuple[int, int], lengths: Mapping[tuple, Scale], notes: list[str]
) -> RecordedDetector:
    path = text_of(dataset.name)
    y, x = (_length_axis(name, scales[i], lengths, path, notes) for name, i in zip("yx", scan, strict=True))
    falling = (y.scale < 0, x.scale < 0)
    frame = frame_dimensions(scales, scan)
    layout = Layout(scan, frame, falling)
    facts = {key: text_of(dataset.attrs[key]) for key in _MAIN}
    metadata = _facts(group_of(dataset))
    return RecordedDetector(
        name=text_of(dataset.attrs.get("detector", "")),
        y=_rising(y),
        x=_rising(x),
        frame_axes=tuple(scales[i].axis() for i in frame),
        dtype=dataset.dtype.str,
        quantity=facts["quantity"],
        units=_spelt(facts["units"]),
        valid=_valid(dataset, scan, falling),
        simulated=bool(metadata.get("simulated", False)),
        metadata=metadata,
        path=path,
        layout=layout,
        dataset=dataset,
    )


def _length_axis(name: str, scale: Scale, lengths: Mapping[tuple, Scale], path: str, notes: list[str]) -> Axis:
    """Return an even axis in metres, and note what had to be taken instead of what the file tells."""
    known = {"name": name, "quantity": "length", "units": "m", "size": len(scale.at)}
    units, factor = scale.si
    if units != "m" and _key(scale) in lengths:
        twin = lengths[_key(scale)]
        notes.append(f"axis {scale.name} of {path} has units {scale.units!r}; {twin.units} taken from its twin")
        units, factor = twin.si
    if units != "m":
        notes.append(f"axis {scale.name} of {path} has units {scale.units!r}, no length; 1 nm taken for each pixel")
        return Axis(**known, scale=NOMINAL_M)
    at = scale.at * factor
    axis = even_axis(known, at, (scale.step or 0.0) * factor or NOMINAL_M)
    if axis is not None:
        return axis
    step = float(at[-1] - at[0]) / (len(at) - 1)
    if not np.isfinite(step) or step == 0:
        notes.append(f"axis {scale.name} of {path} does not go from one end to another; 1 nm taken for each pixel")
        return Axis(**known, scale=NOMINAL_M)
    off = np.abs(at - (at[0] + step * np.arange(len(at)))).max() / abs(step)
    notes.append(f"axis {scale.name} of {path} is uneven by up to {off:.2g} of a step; its mean step is taken")
    return Axis(**known, offset=float(at[0]), scale=step)


def _key(scale: Scale) -> tuple:
    return scale.name.lower(), scale.at.tobytes()


def _rising(axis: Axis) -> Axis:
    if axis.scale > 0:
        return axis
    return axis.model_copy(update={"offset": axis.offset + axis.scale * (axis.size - 1), "scale": -axis.scale})


def _valid(dataset: h5py.Dataset, scan: tuple[int, int], falling: tuple[bool, bool]) -> NDArray[np.bool_]:
    shape = tuple(dataset.shape[i] for i in scan)
    found = group_of(dataset).get(VALID)
    # Only files with y before x, as ours, carry a mask.
    if not isinstance(found, h5py.Dataset) or found.shape != shape or scan[0] > scan[1]:
        return np.ones(shape, np.bool_)
    return found[()].astype(np.bool_)[tuple(slice(None, None, -1 if down else 1) for down in falling)]


def _spelt(units: str) -> str:
    symbol, factor = si_units(units)
    # The numbers stay as they are, so units that would need a factor keep their name.
    return symbol if factor == 1.0 else units


def _facts(group: h5py.Group) -> dict[str, Any]:
    """Return what the metadata beside a dataset tell, long lists included."""
    facts = _tree(group.get("metadata"))
    long = group.get(f"{LONG}/metadata")
    if isinstance(long, h5py.Group):

        def put(path: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                *branches, key = path.split("/")
                reduce(lambda tree, name: tree.setdefault(name, {}), branches, facts)[key] = _plain(item[()])

        long.visititems(put)
    return facts


def _tree(group: object) -> dict[str, Any]:
    if not isinstance(group, h5py.Group):
        return {}
    facts: dict[str, Any] = {key: _plain(value) for key, value in group.attrs.items()}
    return facts | {key: _tree(item) for key, item in group.items() if isinstance(item, h5py.Group)}


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _renamed(detectors: list[RecordedDetector]) -> list[RecordedDetector]:
    wished = [d.name or _natural_name(d) for d in detectors]
    times = Counter(wished)
    unique = [
        name if times[name] == 1 else slug(d.path.rsplit("/", 2)[-2]) for name, d in zip(wished, detectors, strict=True)
    ]
    again = Counter(unique)
    named: list[RecordedDetector] = []
    for i, (name, detector) in enumerate(zip(unique, detectors, strict=True)):
        named.append(replace(detector, name=name if again[name] == 1 else f"{name}_{i}"))
    return named


def _natural_name(detector: RecordedDetector) -> str:
    if detector.kind != "image":
        return {"spectrum": "spectrum", "frames": "diffraction"}[detector.kind]
    name = slug(detector.quantity)
    return "image" if name in ("", "intensity", "generic", "unknown", "counts") else name


def _covers(image: RecordedDetector, grid: RecordedDetector) -> bool:
    """Tell whether an image covers the positions of a grid, to half a step of either."""
    for mine, other in ((image.y, grid.y), (image.x, grid.x)):
        slack = max(mine.scale, other.scale) / 2
        ends = [(a.offset, a.offset + a.scale * (a.size - 1)) for a in (mine, other)]
        if ends[0][0] > ends[1][0] + slack or ends[0][1] < ends[1][1] - slack:
            return False
    return True
