"""Run by another Python: print what SciFiReaders finds in a file, as JSON."""

import hashlib
import json
import sys
import warnings

import hdf5plugin  # noqa: F401 - registers Bitshuffle
import numpy as np

warnings.simplefilter("ignore")
import SciFiReaders  # noqa: E402

found = {}
for dataset in SciFiReaders.NSIDReader(sys.argv[1]).read().values():
    data = np.ascontiguousarray(np.asarray(dataset), "<f8")
    axes = [dataset._axes[i] for i in range(dataset.ndim)]
    found[dataset.title] = {
        "shape": list(dataset.shape),
        "quantity": dataset.quantity,
        "units": dataset.units,
        "type": dataset.data_type.name,
        "axes": [[a.name, a.units, a.quantity, a.dimension_type.name, *np.asarray(a.values).tolist()] for a in axes],
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
        "voltage": dataset.metadata.get("experiment", {}).get("acceleration_voltage"),
    }
print("FOUND" + json.dumps(found, default=float))
