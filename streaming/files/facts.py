"""What a file tells beside its numbers: nested metadata, and a small dataset whole with its axes."""

from __future__ import annotations

from functools import reduce
from typing import Any

import h5py
import numpy as np

from ...core.signal import Axis, Signal
from .nsid import GENERIC, LONG, SI_OFFSET, SI_SCALE, VALID, group_of
from .readers.facts import text_of
from .readers.nsid import scales_of


def stored_signal(dataset: h5py.Dataset) -> Signal:
    """Return a main dataset whole, with axes in SI units and its metadata.

    Raises
    ------
    OSError
        If the file is damaged there.
    """
    group = group_of(dataset)
    axes = axes_of(dataset)
    mask = part_of(group, VALID)
    valid = mask[()].astype(np.bool_) if isinstance(mask, h5py.Dataset) else None
    quantity, units = (told(text_of(dataset.attrs.get(key, ""))) for key in ("quantity", "units"))
    return Signal(dataset[()], axes, quantity, units, valid, facts_of(group))


def axes_of(dataset: h5py.Dataset) -> tuple[Axis, ...]:
    """Return the axes of a dataset that this program has written, in SI units, to the last digit."""
    found = zip((scale.axis() for scale in scales_of(dataset)), dataset.dims, strict=True)
    return tuple(
        axis.model_copy(update=_exact(dimension) | {"quantity": told(axis.quantity)}) for axis, dimension in found
    )


def _exact(dimension: Any) -> dict[str, object]:
    kept = dimension[0].attrs if len(dimension) else {}
    if SI_OFFSET not in kept or SI_SCALE not in kept:
        return {}
    return {"offset": float(kept[SI_OFFSET]), "scale": float(kept[SI_SCALE]), "values": ()}


def told(text: str) -> str:
    """Return a quantity or units, empty where NSID's word for nothing stands."""
    return "" if text == GENERIC else text


def facts_of(group: h5py.Group, tree: str = "metadata") -> dict[str, Any]:
    """Return the nested facts in one tree of a dataset's group, long lists included."""
    facts = _tree(part_of(group, tree))
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


def plain(value: object) -> object:
    """Return what h5py read as Python's own numbers, lists and text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _tree(group: object) -> dict[str, Any]:
    if not isinstance(group, h5py.Group):
        return {}
    facts: dict[str, Any] = {key: plain(value) for key, value in group.attrs.items()}
    return facts | {key: _tree(item) for key, item in parts_of(group).items() if isinstance(item, h5py.Group)}
