"""One reader for each file family; all return datasets as `Found`."""

from .opening import Opened as Opened
from .opening import read as read
