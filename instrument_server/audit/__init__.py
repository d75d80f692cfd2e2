"""The audit: what happened to the instrument, in lines that are chained to each other."""

from .chain import Link as Link
from .verdict import Verdict as Verdict
from .verdict import verdict_on as verdict_on
from .writing import Audit as Audit
from .writing import wall_clock as wall_clock
