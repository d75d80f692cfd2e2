"""Record the small scan that ships as examples/recording.h5, from the simulated microscope.

A dark-field overview and a grid of spectra, in one NSID file, so that the replay instrument
works without any outside data:

    python examples/make_recording.py examples/recording.h5
    beamloop run examples/simulator.toml --instrument replay:examples/recording.h5
"""

import sys
from pathlib import Path

import h5py

from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.streaming.files.nsid import write_signal

with embedded("simulator") as address, connect(address, "recording an example", name="example") as stem:
    overview = stem.scan("haadf", shape=(256, 256), dwell_s=4e-6)
    spectra = stem.scan("eels", shape=(40, 40), dwell_s=0.1)
with h5py.File(Path(sys.argv[1]), "x") as file:
    write_signal(file, "Channel_000", "eels", spectra)
    write_signal(file, "Channel_001", "haadf", overview)
