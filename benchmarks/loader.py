"""Does the loader keep up with the step? Samples a second that one core draws, read, augmented and collated.

    python benchmarks/loader.py                                           # synthetic clips at 256 px, frame by frame
    python benchmarks/loader.py --config config/demo.yaml --run results/demo

With `--run` the batches are those of the configuration's pretraining on the run's own frame store, and the steps a
second that they must feed are read from the run's metrics.
"""

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from wildrayzer.config import StageConfig, StoreConfig, ViewsConfig, load_config
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.views import ViewDataset
from wildrayzer.run.layout import RunLayout
from wildrayzer.tools.planning.forecast import LOADER_MEGAPIXELS
from wildrayzer.training.data import BatchBuilder, BatchSampler
from wildrayzer.training.logging import read_metrics

CLIPS, FRAMES, SIDE = 6, 40, 256


def synthetic_store(folder: Path) -> Path:
    """Clips of smooth noise, which a lossless codec shrinks about as far as photographs."""
    generator = np.random.default_rng(0)
    path = folder / "synthetic.zarr"
    with FrameStoreWriter(path, StoreForm(SIDE, StoreConfig(), cameras=False)) as writer:
        for clip in range(CLIPS):
            coarse = generator.integers(0, 256, (FRAMES, 32, 32, 3), dtype=np.uint8)
            frames = np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for frame in coarse])
            grain = generator.integers(0, 5, frames.shape, dtype=np.uint8)
            writer.add_scene(f"clip{clip}", np.clip(frames.astype(np.int16) + grain, 0, 255).astype(np.uint8))
    return path


def samples_per_second(store: FrameStore, stage: StageConfig, *, steps: int) -> float:
    """Samples a second of one process, drawn, read, augmented and collated."""
    source = ViewDataset(store, stage.views, seed=0)
    plan = BatchSampler(stage, {"static": source.usable}, seed=0)
    builder = BatchBuilder(stage=stage, plan=plan, static=source, grid=store.image_size // 8, seed=0)
    builder.build(0, rank=0, world=1)
    begun = time.perf_counter()
    for step in range(1, steps + 1):
        builder.build(step, rank=0, world=1)
    return steps * stage.batch / (time.perf_counter() - begun)


def report(name: str, store: FrameStore, stage: StageConfig, steps: int) -> float:
    """Print a line and return the samples a second."""
    speed = samples_per_second(store, stage, steps=steps)
    views = sum(stage.views.inputs) / len(stage.views.inputs) + stage.views.targets
    pixels = speed * views * store.image_size**2 / 1e6
    print(
        f"{name}: {speed:.1f} samples/s a core of {views:g} views at {store.image_size} px, {pixels:.1f} megapixels/s"
    )
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(epilog=__doc__)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--run", type=Path, default=None, help="folder of a run of that configuration")
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.run is None:
        views = ViewsConfig(inputs=(2, 3, 4), targets=6, min_distance=25, max_distance=39)
        with tempfile.TemporaryDirectory() as folder:
            store = FrameStore(synthetic_store(Path(folder)))
            report("synthetic", store, StageConfig(batch=8, micro_batch=8, views=views), given.steps)
        print(f"`wildrayzer run plan` counts with {LOADER_MEGAPIXELS:g} megapixels/s")
        return
    if given.config is None:
        parser.error("--run needs --config")
    config = load_config(given.config)
    layout = RunLayout(given.run.name, str(given.run.parent))
    preload = config.data.store.preload_mb
    store = FrameStore(layout.store(config.data.static_train), preload_mb=preload)
    speed = report(str(given.run), store, config.pretrain, given.steps * 10)
    path = Path(layout.metrics("pretrain"))
    if path.is_file():
        records = read_metrics(path, "train")
        pairs = pairwise(records)
        rates = sorted((b["step"] - a["step"]) / (b["time"] - a["time"]) for a, b in pairs if b["time"] > a["time"])
        needed = rates[len(rates) // 2] * config.pretrain.batch
        print(f"its pretraining took {needed:.1f} samples/s: one core of loading feeds {speed / needed:.1f} such jobs")


if __name__ == "__main__":
    main()
