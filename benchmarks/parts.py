"""Splits of many clips on paper: manifests, records, window lists and the dry run of the workflow, without any frames.

Usage: python benchmarks/parts.py [--only NAME] [--folder DIR]

Prints a table for D-RE10K, RealEstate10K and a million clips: parts, files on disk of frames, seconds to plan a second
preparation of unchanged clips (their files are looked at, here by a reader that only names them), to open the split,
to write and to read its window list, size of the manifest, and the peak memory of that process. Every split has a
process of its own, and seconds are of CPU time. Below it stand seconds and peak memory of `snakemake -n` for a run
whose splits have that size, and of `wildrayzer masks inspect --text` for D-RE10K's pseudo-masks. Parts of frames are
empty folders: what is measured never opens one. Those of the masks hold their statistics, and maps and masks of a few
pixels, which the command does not read.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.plan import divide_clips, plan_parts
from wildrayzer.data.preparation.records import ClipFiles, PartRecord, read_records
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.io.digests import digest_json
from wildrayzer.io.part_lists import part_path, parts_folder
from wildrayzer.pseudo_masks.cache.arrays import ARRAYS
from wildrayzer.pseudo_masks.cache.manifest import Manifest
from wildrayzer.pseudo_masks.cache.part import CachePart
from wildrayzer.pseudo_masks.cache.writer import CacheWriter, part_key
from wildrayzer.run.layout import RunLayout

ROOT = Path(__file__).parents[1]
SIZES = (("D-RE10K", 15_467, 10), ("RE10K", 67_477, 140), ("a million", 1_000_000, 10))
"""Name, clips, and frames per clip."""
COMMAND = [sys.executable, "-c", "from wildrayzer.cli.main import app; app()"]
"""The command `wildrayzer`."""
COLUMNS = (
    "split", "clips", "frames", "parts", "files", "manifest MB", "plan again s", "open s", "write windows s",
    "read windows s", "peak GB",
)  # fmt: skip


class NamedFiles:
    """A reader whose clips are single files that are not there."""

    def files(self, name: str) -> list[Path]:
        """The file of a clip."""
        return [Path("/", name)]


def files_of_part(frames: int, store: StoreConfig) -> int:
    """Files of a part with cameras: shards of frames, metadata of the group and of five arrays, the chunks of four of
    these, and the record."""
    return -(-frames // store.frames_per_shard) + 1 + 5 + 4 + 1


def simulate(folder: Path, clips: int, length: int, *, records: bool = True) -> tuple[Path, int, int]:
    """Write manifest, records and empty parts of a split; returns the manifest, and numbers of parts and files."""
    names = [f"clip{number:07d}" for number in range(clips)]
    store = StoreConfig()
    divided = divide_clips(names, str, lambda _name: length, frames=store.frames_per_part)
    path, entries, seed, files = folder / "split.json", [], 0, 0
    looked = ClipFiles(NamedFiles(), folder)  # type: ignore[arg-type]
    parts_folder(path).mkdir()
    for number, part in enumerate(divided):
        key = digest_json(number)
        (parts_folder(path) / f"{key}.zarr").mkdir()
        (parts_folder(path) / f"{key}.zarr" / "zarr.json").touch()
        entries.append(PartEntry(key, seed, part, (length,) * len(part)))
        seed += length * len(part)
        files += files_of_part(length * len(part), store)
        if not records:
            continue
        facts = {"frames": length, "size": "640×360", "turn": 11.111, "travel": 1.111}
        stamps = {name: list(vars(looked._look(name)).values()) for name in part}
        PartRecord(key, "options", {name: {"stamp": stamps[name], **facts} for name in part}).save(parts_folder(path))
    SplitManifest(256, "zstd", ("frames", "cameras"), {}, tuple(entries)).save(path)
    return path, len(divided), files


def in_process(context: Any, task: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a task that has a process of its own, so that memory is counted by itself."""
    answer = context.SimpleQueue()
    process = context.Process(target=lambda: answer.put(task(*arguments)))
    process.start()
    result = answer.get()
    process.join()
    return result


def measure(folder: Path, clips: int, length: int) -> list[float]:
    """CPU seconds of one split, in this process."""
    path, parts, files = simulate(folder, clips, length)
    times = [time.process_time()]
    before = SplitManifest.load(path, complete=False)
    names = [name for part in before.parts for name in part.scenes]
    looked = ClipFiles(NamedFiles(), folder)  # type: ignore[arg-type]
    plan = plan_parts(
        names, before, read_records(parts_folder(path), "options"), looked, lambda new: [new] if new else []
    )
    assert all(part.record is not None for part in plan.parts), "all parts stay"
    del plan, before, names
    times.append(time.process_time())
    store = FrameStore(path)
    times.append(time.process_time())
    WindowList.build(store, ResidualsConfig()).save(folder / "windows.json")
    times.append(time.process_time())
    WindowList.load(folder / "windows.json")
    times.append(time.process_time())
    seconds = [after - before for before, after in pairwise(times)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [parts, files, path.stat().st_size / 1e6, *seconds, peak]


def dry_run(folder: Path, clips: int, length: int) -> tuple[float, float, int]:
    """CPU seconds and peak memory (GB) of `snakemake -n` for the tiny run with splits of so many clips, and its jobs.

    The manifests of all splits are there, as in a run whose frames are prepared.
    """
    config = yaml.safe_load((ROOT / "tests" / "resources" / "tiny.yaml").read_text(encoding="utf-8"))
    for split in config["data"]["embedded"]["splits"].values():
        split["scenes"] = clips
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (folder / "simulated").mkdir()
    manifest = SplitManifest.load(simulate(folder / "simulated", clips, length, records=False)[0])
    for split in config["data"]["splits"]:
        manifest.save(folder / RunLayout(config["name"]).store(split))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    seconds, memory, printed = run([*command, "--configfile", str(file), "--dry-run", "--", "all"])
    jobs = next(line.split()[1] for line in printed.splitlines() if line.startswith("total"))
    return seconds, memory, int(jobs)


def run(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds and peak memory (GB) of a command, the first child of this process, and what it printed."""
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, made.stdout + made.stderr


def inspect_text(folder: Path, clips: int, length: int) -> tuple[float, float, str]:
    """CPU seconds and peak memory (GB) of the summary of a split's pseudo-masks, and what it printed."""
    layout = RunLayout("simulated", str(folder))
    frames = Path(layout.store("split"))
    frames.parent.mkdir(parents=True)
    simulate(frames.parent, clips, length, records=False)
    store = FrameStore(frames)
    windows = WindowList.build(store, ResidualsConfig())
    windows.save(layout.windows("split"))
    write_masks(layout, store, windows)
    return run([*COMMAND, "masks", "inspect", layout.masks(1, "split", "renderer"), "--text"])


def write_masks(layout: RunLayout, store: FrameStore, windows: WindowList) -> None:
    """All three kinds of parts, with random statistics."""
    # Chunks of single masks, which nothing reads here, would take most of the time.
    ARRAYS["pixel_masks"] = tuple(replace(spec, chunk=spec.shard) for spec in ARRAYS["pixel_masks"])
    numbers = np.random.default_rng(0)
    of_frame = np.full(store.num_frames, -1, np.int32)
    for number, window in enumerate(windows.windows):
        of_frame[store.offsets[window.scene] + np.array(window.targets)] = number
    where = (1, "split", "renderer")
    digests = {"store": store.digest, "windows": windows.digest, "renderer": "r"}
    kinds = (
        ("residuals", layout.residuals(*where), ("patch_row", "patch_column")),
        ("patch_masks", layout.patch_masks(*where), ("patch_row", "patch_column")),
        ("pixel_masks", layout.pixel_masks(*where), ("row", "column")),
    )
    for kind, path, dimensions in kinds:
        parts = []
        for part in store.parts:
            span = slice(part.first_frame, part.first_frame + part.num_frames)
            scenes = slice(part.first_scene, part.first_scene + part.num_scenes)
            own = {**digests, "store": part.key}
            target = part_path(path, part_key(kind, own))
            about = {"pseudo_masks": {}} if kind == "patch_masks" else {}
            with CacheWriter(
                target, kind, frames=part.num_frames, sizes=dict.fromkeys(dimensions, 2), digests=own, about=about,
                scenes=store.scenes[scenes], offsets=store.offsets[scenes.start : scenes.stop + 1] - part.first_frame,
            ) as writer:  # fmt: skip
                writer.append(**content(numbers, kind, of_frame[span]))
                writer.summary = {"windows": len(np.unique(of_frame[span]))}
            parts.append(CachePart(target, kind, fix=""))
        made = Manifest.of_parts(kind, parts, digests={**digests, "store": store.digest}, summary={"psnr_filter": 17.0})
        made.save(path)
        digests = {**digests, kind: made.digest}


def content(numbers: np.random.Generator, kind: str, window: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of a part: maps and masks of 2 by 2 patches or pixels, and random statistics."""
    small = (len(window), 2, 2)
    if kind == "residuals":
        maps = {name: numbers.random(small).astype(np.float16) for name in ("d_dino", "d_ssim")}
        psnr = numbers.uniform(15, 30, len(window)).astype(np.float32)
        return {**maps, "clusters": np.zeros(small, np.uint8), "psnr": psnr, "window": window - window.min()}
    masks = {"mask": (numbers.random(small) > 0.8).astype(np.uint8)}
    return masks if kind == "patch_masks" else {**masks, "disagreement": numbers.random(len(window), np.float32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[name for name, _, _ in SIZES], help="one of the splits")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("fork")
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    sizes = [one for one in SIZES if options.only in (None, one[0])]
    for name, clips, length in sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            parts, files, *values = in_process(context, measure, Path(folder), clips, length)
        numbers = [f"{clips:,}", f"{clips * length:,}", f"{parts:,.0f}", f"{files:,.0f}", *(f"{v:.2f}" for v in values)]
        print("| " + " | ".join([name, *numbers]) + " |", flush=True)
    print("\n| `snakemake -n` | jobs | CPU seconds | peak GB |\n| --- | --- | --- | --- |")
    for name, clips, length in sizes:  # in processes of their own, whose children's peak is that of the dry run
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            seconds, memory, jobs = in_process(context, dry_run, Path(folder), clips, length)
        print(f"| {name}, {clips:,} clips in each split | {jobs} | {seconds:.1f} | {memory:.2f} |", flush=True)
    for name, clips, length in sizes:
        if name == "D-RE10K":
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                seconds, memory, printed = in_process(context, inspect_text, Path(folder), clips, length)
            print(f"\n`masks inspect --text`, {name}: {seconds:.1f} CPU seconds, {memory:.2f} GB\n\n{printed}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
