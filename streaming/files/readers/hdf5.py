"""HDF5 as h5py gives it, turned into plain values: attributes, facts, axes."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np


def text_of(value: object) -> str:
    """Return an HDF5 attribute or scalar dataset as text; a list of one counts as its element."""
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


def plain(value: object) -> object:
    """Return numpy's numbers and arrays as Python's."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
