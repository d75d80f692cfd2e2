"""Ten lines at the instrument: connect, read, move, scan, measure points, take a spectrum.

In another terminal: beamloop serve simulator
"""

from beamloop.edge_client import connect

with connect("localhost:7440", purpose="trying beamloop") as stem:
    print(stem.info.name, stem.info.source, "beam current", stem.read("beam_current_a"), "A")
    stem.move(defocus_m=10e-9)
    picture = stem.scan("haadf", shape=(128, 128), dwell_s=4e-6)
    print(picture.data.shape, picture.units, [(axis.name, axis.scale, axis.units) for axis in picture.axes])
    few = stem.points("eels", [(20e-9, 30e-9), (50e-9, 60e-9)], dwell_s=0.05)
    print(few.data.shape, "edge at", few.axes[-1].coordinates()[few.data[0].argmax()], few.axes[-1].units)
    spectrum = stem.spectrum("eels", y_m=35e-9, x_m=70e-9, dwell_s=0.05)
    print(spectrum.data.shape, spectrum.data.sum(), spectrum.units)
