"""Surrogates, acquisition, policies, stopping, and the loop that joins them."""

from .loop import ContinueAsked as ContinueAsked
from .loop import Failed as Failed
from .loop import Finish as Finish
from .loop import Interrupted as Interrupted
from .loop import Loop as Loop
from .loop import Measure as Measure
from .loop import Measured as Measured
from .loop import PauseAsked as PauseAsked
from .loop import Record as Record
from .loop import Refused as Refused
from .loop import ResumeAsked as ResumeAsked
from .loop import StopAsked as StopAsked
from .stopping import Progress as Progress
from .stopping import StopRules as StopRules
