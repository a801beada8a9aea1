"""One flipped bit at places all over the artefacts of a finished run, each read by what reads it in the workflow.

`python -m tests.fuzz.artefacts RUN` works on a copy of the folder. A place is `named` (refused, or said in the log,
with a path of the run), `harmless` (everything that is read is the same), or a fault: `silent`, `unnamed`, `traceback`.
"""

import argparse
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.subjects import digest
from tests.slurm.damage import (
    flipped,
    read_checkpoint,
    read_patches,
    read_pixels,
    read_residuals,
    read_state,
    read_store,
    warnings_of_the_package,
)
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.evaluation.tables.manifests import read_healths, read_manifests
from wildrayzer.evaluation.tables.scores import read_scores
from wildrayzer.io.arrays import read_npz
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds

FAULTS = ("silent", "unnamed", "traceback")
_NOT_READ = {".html", ".png", ".tex", ".md", ".log", ".pdf"}
"""Files that are for people."""


def readers(run: Path) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """The artefacts of a run, files or folders, and how each is read."""
    for path in sorted(run.glob("frames/*")):
        yield from _parts(path, read_store)
    for path in sorted(run.glob("windows/*.json")):
        yield path, lambda path=path: repr(WindowList.load(path))
    for path in sorted(run.rglob("checkpoint/manifest.json")):
        yield path.parent, lambda path=path: read_checkpoint(path.parent)
    for name, read in (("residuals", read_residuals), ("patch_masks", read_patches), ("pixel_masks", read_pixels)):
        for path in sorted(run.rglob(f"masks/*/*/{name}*")):
            yield from _parts(path, read)
    for path in sorted(run.rglob("thresholds-*.json")):
        yield path, lambda path=path: AbsoluteThresholds.load(path)
    for path in sorted(run.glob("scores/*/*.csv")):
        both = [path, path.with_suffix(".json")]
        for file in both:
            yield file, lambda both=both: [read_scores(both[:1]).to_dict("list"), read_manifests(both[1:])]
    for path in sorted(run.glob("scores/*/*.npz")):
        yield path, lambda path=path: read_npz(path)
    for path in sorted(run.glob("scores/renderer.json")):
        yield path, lambda path=path: read_healths([path])
    for path in sorted(run.glob("state/*")):
        yield path, lambda path=path: read_state(path)


def _parts(folder: Path, read: Callable[[Path], Any]) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """A folder of parts and its manifest; or a store of an earlier version, which is one folder."""
    if folder.suffix == ".zarr" and (folder / "zarr.json").is_file():
        yield folder, lambda: read(folder)
    elif folder.is_dir() and (manifest := folder.with_name(f"{folder.name}.json")).is_file():
        yield folder, lambda: read(manifest)
        yield manifest, lambda: read(manifest)


def flip_all(run: Path, *, places: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Flip one bit at so many places of a copy, drawn over artefacts and then over their files; counts and faults."""
    chosen, counts, faults = random.Random(seed), Counter[str](), []
    with tempfile.TemporaryDirectory(prefix="flips") as name:
        copy = Path(name) / run.name
        shutil.copytree(run, copy, symlinks=True)
        artefacts = list(readers(copy))
        whole: dict[Path, str] = {}
        for number in range(places):
            path, read = artefacts[number % len(artefacts)]
            if path not in whole:
                whole[path] = digest(read())
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            file = chosen.choice(sorted(file for file in files if file.stat().st_size and file.name[0] != "."))
            if file.suffix in _NOT_READ:
                continue
            content = file.read_bytes()
            file.write_bytes(flipped(content, chosen))
            outcome, detail = _outcome(read, whole[path], copy)
            file.write_bytes(content)
            counts[outcome] += 1
            if outcome in FAULTS:
                faults.append(f"{outcome}: {file.relative_to(copy)}, place {number}: {detail}")
    return counts, faults


def _outcome(read: Callable[[], Any], whole: str, copy: Path) -> tuple[str, str]:
    with warnings_of_the_package() as said:
        try:
            found = digest(read())
        except (ValueError, OSError) as error:
            return ("named", "") if str(copy) in str(error) else ("unnamed", repr(error)[:500])
        except Exception:  # noqa: BLE001 - to be counted
            return "traceback", traceback.format_exc()[-1500:]
    if found == whole:
        return "harmless", ""
    return ("named", "") if any(str(copy) in line for line in said) else ("silent", "another result")


def main() -> int:
    """Flip, print counts and faults; exit code 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.artefacts", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run, such as results/tiny")
    parser.add_argument("--places", type=int, default=232)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    counts, faults = flip_all(chosen.run, places=chosen.places, seed=chosen.seed)
    sys.stdout.write("\n\n".join([*faults, f"{counts.total()} places: {dict(counts)}"]) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
