"""Run by another Python: print what py4DSTEM finds under a root of a file, as JSON."""

import hashlib
import json
import sys
import warnings

import hdf5plugin  # noqa: F401 - registers Bitshuffle
import numpy as np

warnings.simplefilter("ignore")
import py4DSTEM  # noqa: E402

cube = py4DSTEM.read(sys.argv[1], datapath=sys.argv[2])
cal = cube.calibration
found = {
    "class": type(cube).__name__,
    "shape": list(cube.data.shape),
    "R": [cal.get_R_pixel_size(), cal.get_R_pixel_units()],
    "Q": [cal.get_Q_pixel_size(), cal.get_Q_pixel_units()],
    "dims": [
        [name, units, *np.asarray(dim)[:2].tolist()]
        for name, units, dim in zip(cube.dim_names, cube.dim_units, cube.dims, strict=True)
    ],
    "sha256": hashlib.sha256(np.ascontiguousarray(cube.data, "<f8").tobytes()).hexdigest(),
}
print("FOUND" + json.dumps(found, default=float))
