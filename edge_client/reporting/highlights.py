"""The few facts of an acquisition that a person asks for first, out of all that a file tells.

Files nest them differently but mostly agree on the last word. Units are those of HyperSpy's
metadata, which rosettasciio uses too, and of Berkeley's EMD.

Source: HyperSpy's metadata structure, `Acquisition_instrument.TEM` and `Detector`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_UNITS = {
    "title": "", "date": "", "time": "", "microscope": "", "beam_energy": "keV", "beam_current": "nA",
    "convergence_angle": "mrad", "collection_angle": "mrad", "camera_length": "mm", "magnification": "",
    "dwell_time": "s", "dwell_s": "s", "tilt_alpha": "degrees", "tilt_beta": "degrees", "elements": "",
    "signal_type": "", "high tension": "V", "convergence angle": "rad", "dwell time": "s", "sample name": "",
    "acceleration_voltage": "V",
}  # fmt: skip


def highlights(metadata: Mapping[str, object]) -> dict[str, str]:
    """Return the facts that are told, by name, with their units.

    >>> highlights({"Acquisition_instrument": {"TEM": {"beam_energy": 200.0}}, "General": {"title": ""}})
    {'beam energy': '200 keV'}
    """
    found: dict[str, str] = {}
    for name, value in _leaves(metadata):
        if name in _UNITS and value not in ("", None) and name not in found:
            found[name] = _written(value, _UNITS[name])
    return {name.removesuffix("_s").replace("_", " "): found[name] for name in _UNITS if name in found}


def _leaves(tree: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield key, value


def _written(value: object, units: str) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text} {units}".strip()
