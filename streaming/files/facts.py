"""What a file tells beside its numbers, as plain Python values: attributes and nested metadata."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import h5py
import numpy as np

from .nsid import GENERIC, LONG


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


def told(text: str) -> str:
    """Return a quantity or units, empty where NSID's word for nothing stands."""
    return "" if text == GENERIC else text


def facts_of(group: h5py.Group, tree: str = "metadata") -> dict[str, Any]:
    """Return the nested facts in one tree of a dataset's group, long lists included."""
    facts = tree_of(part_of(group, tree))
    long = part_of(group, f"{LONG}/{tree}")
    if isinstance(long, h5py.Group):

        def put(path: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                *branches, key = path.split("/")
                reduce(lambda branch, name: branch.setdefault(name, {}), branches, facts)[key] = plain(item[()])

        long.visititems(put)
    return facts


def part_of(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return what lies at a path; None only if there is no such link, where h5py's `get` hides damage too.

    Raises
    ------
    KeyError
        If something is there and cannot be opened.
    """
    here: object = group
    for name in path.split("/"):
        if not isinstance(here, h5py.Group) or not here.id.links.exists(name.encode()):
            return None
        here = here[name]
    return here if isinstance(here, (h5py.Group, h5py.Dataset)) else None


def parts_of(group: h5py.Group) -> dict[str, h5py.Group | h5py.Dataset]:
    """Return what lies in a group, by name; h5py's `items` would pass over what is damaged.

    Raises
    ------
    KeyError
        If something there cannot be opened.
    """
    found = {str(name): part_of(group, str(name)) for name in group}
    return {name: part for name, part in found.items() if part is not None}


def tree_of(group: object) -> dict[str, Any]:
    """Return the attributes of a group and of those below it, nested; nothing of what is no group.

    Raises
    ------
    KeyError
        If something there cannot be opened.
    """
    if not isinstance(group, h5py.Group):
        return {}
    facts: dict[str, Any] = {key: plain(value) for key, value in group.attrs.items()}
    return facts | {key: tree_of(item) for key, item in parts_of(group).items() if isinstance(item, h5py.Group)}


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
