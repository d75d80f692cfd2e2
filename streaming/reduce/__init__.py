"""Reductions of frame streams: what to compute, in one pass, readable while it grows."""

from .centre_of_mass import CentreOfMass as CentreOfMass
from .engine import Reducing as Reducing
from .kernels import compilations as compilations
from .masks import Masks as Masks
from .moments import Moments as Moments
from .region import Disk as Disk
from .region import Mask as Mask
from .region import Polygon as Polygon
from .region import Ring as Ring
from .spectrum import SpectrumWindow as SpectrumWindow
from .total import Total as Total
from .virtual_detector import VirtualDetector as VirtualDetector
from .warming import warm_up as warm_up
