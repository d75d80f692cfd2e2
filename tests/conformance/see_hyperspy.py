"""Run by another Python: print what HyperSpy finds in a file, eager and lazy, as JSON."""

import hashlib
import json
import sys
import warnings

import hdf5plugin  # noqa: F401 - registers Bitshuffle
import numpy as np

warnings.simplefilter("ignore")
import hyperspy.api as hs  # noqa: E402


def told(signal):
    data = np.ascontiguousarray(np.asarray(signal.data), "<f8")
    return {
        "shape": list(signal.data.shape),
        "class": type(signal).__name__,
        "signal_type": signal.metadata.Signal.signal_type,
        "axes": [[a.name, str(a.units), a.navigate, *a.axis.tolist()] for a in signal.axes_manager._axes],
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
        "beam_energy": signal.metadata.get_item("Acquisition_instrument.TEM.beam_energy"),
    }


found = {}
for lazy in (False, True):
    signals = hs.load(sys.argv[1], reader="hspy", lazy=lazy)
    for signal in signals if isinstance(signals, list) else [signals]:
        if lazy:
            signal.compute()
        found.setdefault(signal.metadata.General.title, []).append(told(signal))
print("FOUND" + json.dumps(found, default=float))
