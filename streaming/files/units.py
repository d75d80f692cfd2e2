"""SI units in the code, customary ones in files, and every spelling of them on the way in.

Files carry nm, 1/nm and mrad, as microscopists do; energies stay in eV and bias in V.
Readers meet `n_m`, `[n_m]`, `µm`, `1 / nm`, `$A^{-1}$` and nothing at all; `si_units` knows them.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from ...core.signal import Axis

_CUSTOMARY = {"m": ("nm", 1e9), "1/m": ("1/nm", 1e-9), "rad": ("mrad", 1e3)}
_POWERS = {"": 0, "G": 9, "M": 6, "k": 3, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}
_SYMBOLS = ("m", "s", "V", "eV", "rad", "Hz", "A")
_WORDS = {
    "meter": "m", "meters": "m", "metre": "m", "metres": "m", "nanometer": "nm", "nanometers": "nm",
    "nanometre": "nm", "nanometres": "nm", "micron": "um", "microns": "um", "micrometer": "um",
    "micrometers": "um", "angstrom": "Å", "angstroms": "Å", "Angstrom": "Å", "second": "s", "seconds": "s",
    "volt": "V", "volts": "V", "Volt": "V", "Volts": "V",
}  # fmt: skip
_NOTHING = {"", "px", "pixel", "pixels", "pix", "channel", "channels", "generic", "unknown", "none", "<undefined>"}
_SIGNS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u212b": "\u00c5"})
"""Two signs for micro, and the ångström sign that is not the letter."""
_RECIPROCAL = re.compile(r"1/\(?(?P<under>[^()]+)\)?|(?P<base>.+?)\^?\(?-1\)?")


def si_units(text: str, *, of_length: bool = False) -> tuple[str, float]:
    """Return the SI units behind a spelling, and the factor that takes numbers to them.

    What is no known unit comes back without its typesetting and with factor 1; what means "no unit" comes
    back empty.

    Parameters
    ----------
    text
        Units as a file spells them.
    of_length
        Whether they can only be of a length or its inverse, so that `A` is an ångström and no ampere.

    >>> si_units("n_m"), si_units("1 / nm"), si_units("$A^{-1}$", of_length=True), si_units("keV")
    (('m', 1e-09), ('1/m', 1000000000.0), ('1/m', 10000000000.0), ('eV', 1000.0))
    """
    plain = re.sub(r"\\mu\b", "u", text).translate(_SIGNS)
    plain = re.sub(r"[${}\\]", "", plain).strip()
    compact = re.sub(r"[\s_\[\]]", "", plain).replace("**", "^")
    if compact.lower() in _NOTHING or "?" in compact:
        return "", 1.0
    if known := _simple(compact, of_length):
        return known[0], float(known[1])
    inverse = _RECIPROCAL.fullmatch(compact)
    if inverse and (known := _simple(inverse["under"] or inverse["base"], of_length)):
        return f"1/{known[0]}", float(1 / known[1])
    return ("counts", 1.0) if compact.lower() in ("count", "counts") else (plain, 1.0)


def customary(axis: Axis) -> Axis:
    """Return an axis in the units that files carry.

    >>> customary(Axis(name="x", size=3, units="m", scale=5e-10)).scale
    0.5
    """
    units, factor = _CUSTOMARY.get(axis.units, (axis.units, 1.0))
    if factor == 1.0:
        return axis
    values = tuple(value * factor for value in axis.values)
    scaled = {"units": units, "offset": axis.offset * factor, "scale": axis.scale * factor, "values": values}
    return axis.model_copy(update=scaled)


def _simple(symbol: str, of_length: bool) -> tuple[str, Fraction] | None:
    """Return SI units and the exact factor, so that an inverse is not rounded twice."""
    symbol = _WORDS.get(symbol, symbol)
    if symbol == "Å" or (symbol == "A" and of_length):
        return "m", Fraction(1, 10**10)
    if symbol in ("deg", "degree", "degrees", "°"):
        return "rad", Fraction(math.pi / 180)
    for unit in _SYMBOLS:
        prefix = symbol.removesuffix(unit)
        if symbol.endswith(unit) and prefix in _POWERS:
            return unit, Fraction(10) ** _POWERS[prefix]
    return None
