"""The mask caches in a folder that is none itself, such as that of a round or of a run."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from wildrayzer.pseudo_masks.cache.location import GROUPS

_SHOWN = 20
_SEARCHED = 5000
"""Folders that are searched at most: somebody may name the root of a disk."""


def check_is_cache(path: Path) -> None:
    """Refuse a folder that holds mask caches but is none.

    Raises:
        ValueError: naming the caches.
    """
    found = sorted(caches_below(path)) if path.is_dir() and path.suffix != ".zarr" else []
    if found and found != [path]:
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        lines = "".join(f"\n  {cache}" for cache in found[:_SHOWN])
        raise ValueError(f"{path} is no mask cache, but holds {len(found)}; name one of them:{lines}{more}")


def caches_below(path: Path) -> Iterator[Path]:
    """Folders of mask caches below a folder: of a run, or of all runs; not in arrays and hidden folders."""
    for folder, inner, files in itertools.islice(os.walk(path), _SEARCHED):
        if _is_cache([*inner, *files]):
            yield Path(folder)
            inner.clear()
        inner[:] = [name for name in inner if not name.endswith(".zarr") and not name.startswith(".")]


def _is_cache(names: list[str]) -> bool:
    return any(f"{group}{suffix}" in names for group in GROUPS for suffix in (".zarr", ".json"))
