"""Peak memory of preparing splits of two sizes, the second ten times the first.

Usage: python benchmarks/frame_memory.py [--scenes N] [--frames N] [--processes N] [--folder DIR]

Each size is prepared by a process of its own; printed is the largest resident memory of that process and of its
children, as the kernel counts them (`ru_maxrss`).
"""

import argparse
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from frame_loading import make_chunks

from wildrayzer.config.sections.data import SplitConfig, StoreConfig


def prepare(
    raw: Path, out: Path, processes: int, answer: "multiprocessing.queues.SimpleQueue[tuple[int, int]]"
) -> None:
    """Prepare a split in this process; answers with its peak and that of its largest child, KiB."""
    from wildrayzer.stages.prepare import prepare_split

    logging.basicConfig(level=logging.ERROR)
    split = SplitConfig(layout="pixelsplat", path=str(raw), role="static", purpose="train")
    prepare_split(split, raw, out, image_size=256, store=StoreConfig(train_codec="jpeg"), processes=processes)
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    answer.put((peaks[0], peaks[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60, help="of the smaller split")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=options.folder))
    context = multiprocessing.get_context("spawn")
    for factor in (1, 10):
        raw, scenes = root / f"raw{factor}", options.scenes * factor
        make_chunks(raw, scenes=scenes, frames=options.frames, video=None)
        answer = context.SimpleQueue()
        process = context.Process(target=prepare, args=(raw, root / f"{factor}.json", options.processes, answer))
        process.start()
        own, children = answer.get()
        process.join()
        frames = scenes * options.frames
        print(f"{scenes:6} scenes, {frames:7} frames: {own / 1024:6.0f} MiB, child {children / 1024:6.0f} MiB")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
