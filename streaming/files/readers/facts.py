"""Facts that files tell, as plain Python values: attributes, nested groups, numbers of numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np


def text_of(value: object) -> str:
    """Return an HDF5 attribute or small dataset as text; a list of one counts as its element."""
    if isinstance(value, h5py.Dataset):
        value = value[()]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def attribute(item: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return an attribute as text, empty if there is none."""
    return text_of(item.attrs[name]) if name in item.attrs else ""


def tree(group: object) -> dict[str, Any]:
    """Return the attributes of a group and of those below it, nested."""
    if not isinstance(group, h5py.Group):
        return {}
    facts: dict[str, Any] = {key: plain(value) for key, value in group.attrs.items()}
    return facts | {key: tree(item) for key, item in group.items() if isinstance(item, h5py.Group)}


def plain(value: Any) -> Any:
    """Return numpy's numbers and arrays, and what is nested in mappings, as Python's own types."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value
