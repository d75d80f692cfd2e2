"""What is in a recorded file, as lines for a person and as facts for a program."""

from __future__ import annotations

from collections.abc import Iterator

from ...core import Axis
from ...streaming.files import Found, RecordedDetector, Recording, customary
from .figures import Length
from .highlights import highlights

_KINDS = {"image": "image", "spectrum": "spectra", "frames": "frames"}


def recording_lines(recording: Recording) -> Iterator[str]:
    """Yield one block of lines for each detector, then what lies beside and why, then what was guessed."""
    yield " + ".join(map(str, recording.paths))
    main, overview = (recording.main, recording.overview) if recording.detectors else (None, None)
    for detector in recording.detectors:
        roles = [role for role, it in (("main", main), ("overview", overview)) if it is detector]
        yield from _detector(detector, roles)
    for found in recording.beside:
        yield f"beside, {_sizes(found.data.shape)}: {found.passed_over()}"
    notes = (note for detector in recording.detectors for note in (*detector.notes, detector.place) if note)
    yield from (f"note: {note}" for note in notes)


def recording_facts(recording: Recording) -> dict[str, object]:
    """Return the same as a tree that JSON can hold, all metadata included."""
    overview = recording.overview if recording.detectors else None
    return {
        "files": [str(path) for path in recording.paths],
        "main": recording.main.name if recording.detectors else None,
        "overview": overview.name if overview else None,
        "detectors": [_detector_facts(detector) for detector in recording.detectors],
        "beside": [_beside_facts(found) for found in recording.beside],
        "notes": list(recording.notes),
    }


def readable(axis: Axis) -> Axis:
    """Return an axis in units that give readable numbers: lengths as they fit, others as files carry them.

    >>> readable(Axis(name="v", size=100, units="m", scale=2e-4)).units
    'mm'
    """
    if axis.units != "m" or axis.values:
        return customary(axis)
    length = Length.fitting(abs(axis.scale) * axis.size)
    scaled = {"offset": axis.offset * length.per_metre, "scale": axis.scale * length.per_metre, "units": length.unit}
    return axis.model_copy(update=scaled)


def _detector(detector: RecordedDetector, roles: list[str]) -> Iterator[str]:
    ny, nx = detector.shape
    frame = f" of {_sizes(detector.frame_shape)}" if detector.frame_shape else ""
    role = f" ({', '.join(roles)})" if roles else ""
    yield f"{detector.name}{role}: {_KINDS[detector.kind]}{frame}, {ny} x {nx} positions (y, x)"
    for axis in (detector.y, detector.x, *detector.frame_axes):
        yield f"    {_axis(axis)}"
    recorded = int(detector.valid.sum())
    whole = "all positions recorded" if detector.valid.all() else f"{recorded} of {detector.valid.size} recorded"
    units = f" ({detector.units})" if detector.units else ""
    simulated = "; from a SIMULATOR" if detector.simulated else ""
    yield f"    {detector.quantity}{units}, {detector.dtype}, {whole}{simulated}; {detector.path}"
    told = highlights(detector.metadata)
    if told:
        yield f"    {'; '.join(f'{name} {value}' for name, value in told.items())}"


def _axis(axis: Axis) -> str:
    shown = readable(axis)
    at = shown.coordinates()
    units = f" {shown.units}" if shown.units else ""
    step = "uneven" if axis.values else f"in steps of {shown.scale:.5g}{units}"
    return f"{axis.name}: {axis.size}, {at[0]:.5g} .. {at[-1]:.5g}{units}, {step}"


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _detector_facts(detector: RecordedDetector) -> dict[str, object]:
    return {
        "name": detector.name, "kind": detector.kind, "shape": detector.shape, "dtype": detector.dtype,
        "axes": [axis.model_dump() for axis in (detector.y, detector.x, *detector.frame_axes)],
        "quantity": detector.quantity, "units": detector.units, "calibrated": detector.calibrated,
        "recorded": int(detector.valid.sum()), "positions": detector.valid.size, "simulated": detector.simulated,
        "file": str(detector.file), "path": detector.path, "highlights": highlights(detector.metadata),
        "metadata": dict(detector.metadata),
    }  # fmt: skip


def _beside_facts(found: Found) -> dict[str, object]:
    return {
        "path": found.path, "shape": found.data.shape, "dtype": str(found.data.dtype),
        "axes": [{"name": s.name, "units": s.units, "size": len(s.at)} for s in found.scales],
        "quantity": found.quantity, "units": found.units, "why": found.passed_over(),
    }  # fmt: skip
