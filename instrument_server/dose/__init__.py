"""The dose on the specimen: charged before it is given, kept on a map, and limited by a budget."""

from .budget import DoseSettings as DoseSettings
from .charging import Dose as Dose
from .store import DoseStore as DoseStore
