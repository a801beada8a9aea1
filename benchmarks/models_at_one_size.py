"""Held-out views of several checkpoints at one size: PSNR beside a copy of the nearest input.

    python benchmarks/models_at_one_size.py CHECKPOINT [CHECKPOINT ...] --videos VIDEO ... --sheet views.png

Networks that see 48 px and 64 px have different frames to render. Here every rendering and every frame is reduced to
`--side` pixels (mean of areas). Scenes are the first static test clips of the demo's data set and windows of videos,
five frames per second. In a window of seven frames the ends are inputs, the others targets. Unless `--gate` says
otherwise, nothing is kept out, so that what moves counts too. The sheet shows both inputs and the middle target:
recorded, copied, and by each checkpoint.
"""

import argparse
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import Image

import wildrayzer as wr
from wildrayzer.config import load_config
from wildrayzer.data.embedded.splits import make_clip, seed_name
from wildrayzer.data.ingest.views import read_views
from wildrayzer.images.psnr import psnr

ROOT = Path(__file__).parents[1]
WINDOW, RATE = 7, 5
TARGETS = slice(1, WINDOW - 1)


def clips(count: int, side: int) -> list[np.ndarray]:
    """The first frames of static test clips, uint8 `[7, side, side, 3]`."""
    embedded = load_config(ROOT / "config" / "demo.yaml").data.embedded
    assert embedded is not None
    rules, key = embedded.splits["static_test"], seed_name(embedded, "static_test")
    made = (make_clip(number, config=embedded, split=rules, key=key, image_size=side) for number in range(count))
    return [one.rendering.frames[:WINDOW] for one in made]


def windows(video: Path, side: int) -> list[np.ndarray]:
    """Windows of a video; each overlaps half of the next."""
    with av.open(str(video)) as container:
        assert container.duration is not None, f"{video} does not say how long it is"
        frames = max(WINDOW, round(RATE * container.duration / av.time_base))
    images = [view.image for view in read_views([video], image_size=side, frames=frames)]
    return [np.stack(images[start : start + WINDOW]) for start in range(0, len(images) - WINDOW + 1, WINDOW // 2)]


def reduced(images: np.ndarray, side: int) -> np.ndarray:
    """Float pictures `[v, side, side, 3]` in [0, 1]."""
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images]) / 255


def quality(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """PSNR of each view, dB."""
    return psnr(*(torch.from_numpy(views).movedim(-1, 1) for views in (found, truth))).tolist()


def main() -> None:
    """Print the table; write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    parser.add_argument("--clips", type=int, default=160)
    parser.add_argument("--side", type=int, default=48, help="pixels at which all are compared")
    parser.add_argument("--gate", type=float, default=1.0, help="patches with a higher probability are kept out")
    parser.add_argument("--sheet", type=Path, help="PNG to write: up to four scenes of each set")
    given = parser.parse_args()
    models = [wr.load(path, device="cpu") for path in given.checkpoints]
    print("| set, mean PSNR in dB | windows | copied input |", *(f"{path} |" for path in given.checkpoints))
    print("| --- | --- | --- |", *("--- |" for _ in models))
    rows = []
    for name in ("static test clips", *given.videos):
        sides = {model.image_size for model in models}
        sets = {s: clips(given.clips, s) if isinstance(name, str) else windows(name, s) for s in sides}
        truths = [reduced(window, given.side) for window in sets[max(sets)]]
        copied = [truth[[0] * (WINDOW // 2) + [-1] * (WINDOW - WINDOW // 2)] for truth in truths]
        rendered = []
        for model in models:
            ours = [model.render(window, inputs=2, threshold=given.gate).pixels for window in sets[model.image_size]]
            rendered.append([reduced(views, given.side) for views in ours])
        columns = [
            np.mean([quality(views[TARGETS], truth[TARGETS]) for views, truth in zip(method, truths, strict=True)])
            for method in (copied, *rendered)
        ]
        print(f"| {getattr(name, 'stem', name)} | {len(truths)} |", *(f"{value:.2f} |" for value in columns))
        for scene in np.unique(np.linspace(0, len(truths) - 1, 4).round().astype(int)):
            shown = (truths[scene][0], truths[scene][-1], *(one[scene][WINDOW // 2] for one in (truths, copied)))
            rows.append(np.hstack([*shown, *(method[scene][WINDOW // 2] for method in rendered)]))
    if given.sheet:
        sheet = Image.fromarray((np.vstack(rows) * 255).round().astype(np.uint8))
        sheet.resize((sheet.width * 3, sheet.height * 3), Image.Resampling.BICUBIC).save(given.sheet)


if __name__ == "__main__":
    main()
