"""Lists of parts, as manifests of splits and of caches keep them: `NAME.json` lists the folders `NAME/KEY.zarr`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wildrayzer.io.object_store import located
from wildrayzer.io.printable import is_text


def parts_folder(manifest: str | Path) -> Path:
    """Folder of the parts that belong to a manifest."""
    return located(manifest).with_suffix("")


def part_path(manifest: str | Path, key: str) -> Path:
    """Folder of a part of a manifest."""
    return parts_folder(manifest) / f"{key}.zarr"


def check_names(manifest: Path, keys: Sequence[str], scenes: Sequence[str], *, fix: str) -> None:
    """Refuse a manifest that lists a part or a scene twice, or a name that UTF-8 cannot hold.

    Raises:
        ValueError: naming the manifest, the part or scene, and the fix.
    """
    for what, names in (("part", keys), ("scene", scenes)):
        name, count = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise ValueError(f"{manifest}: the {what} {name!r} is listed twice; {fix}")
        if not is_text("".join(names)):
            bad = next(name for name in names if not is_text(name))
            raise ValueError(f"{manifest}: the name of the {what} {bad!r} is not Unicode; {fix}")


def check_present(manifest: Path, keys: Sequence[str], *, fix: str) -> None:
    """Refuse a manifest that lists parts that are not there; the folder is listed once, no part is opened.

    Raises:
        ValueError: naming the manifest, the first missing part and the fix.
    """
    folder = parts_folder(manifest)
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    missing = [key for key in keys if f"{key}.zarr" not in present]
    if missing:
        raise ValueError(
            f"{manifest}: {len(missing)} of {len(keys)} parts are missing, first {part_path(manifest, missing[0])}; "
            f"copy them too, or {fix}"
        )
