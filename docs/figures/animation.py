"""The animated picture of the README, from a finished run: a path between two inputs, with and without what moves.

    .venv/bin/python docs/figures/animation.py results/showcase docs/figures/path.webp

It takes the first clips of `pairs_test`, two frames of each, and the model of joint training. "nothing kept out" is the
same model with all patches of the inputs.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import wildrayzer as wr
from wildrayzer.data.frame_store.store import FrameStore

RED = np.array([220, 30, 40])
SIDE, HEADER, GAP = 168, 24, 4
"""Pixels of a picture, of the line of titles, and between pictures."""
TITLES = ("input 1", "input 2", "masked 1", "masked 2", "nothing kept out", "WildRayZer")


def tiles(model: wr.Model, images: np.ndarray, steps: int) -> list[list[np.ndarray]]:
    """The pictures of one scene in every frame of the animation; the path leads there and back."""
    scene = model.scene(images, inputs=2)
    gate = scene.gate()
    patch = scene.images.shape[1] // gate.shape[1]
    mask = gate.repeat(patch, 1).repeat(patch, 2)[..., None]
    marked = np.where(mask, 0.35 * scene.images + 0.65 * RED, scene.images).astype(np.uint8)
    path = scene.path(steps)
    everything, clean = (scene.render(path, threshold=threshold).pixels for threshold in (1.0, None))
    there_and_back = [*range(steps), *range(steps - 2, 0, -1)]
    return [[*scene.images, *marked, everything[step], clean[step]] for step in there_and_back]


def frame(rows: list[list[np.ndarray]]) -> Image.Image:
    """One frame of the animation: a row per scene, under the titles."""
    step = SIDE + GAP
    canvas = Image.new("RGB", (len(TITLES) * step - GAP, HEADER + len(rows) * step - GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for column, title in enumerate(TITLES):
        draw.text((column * step + SIDE / 2, HEADER / 2), title, "black", font, anchor="mm")
        for row, pictures in enumerate(rows):
            shown = cv2.resize(pictures[column], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            canvas.paste(Image.fromarray(shown), (column * step, HEADER + row * step))
    return canvas


def main() -> None:
    """Write the animation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, for example results/showcase")
    parser.add_argument("out", type=Path, help="animated WebP to write")
    parser.add_argument("--scenes", type=int, nargs="+", default=[0, 1, 2], help="rows, as numbers of clips")
    parser.add_argument("--steps", type=int, default=20, help="cameras of the path")
    options = parser.parse_args()
    model = wr.load(options.run / "round1" / "joint" / "checkpoint", device="cpu")
    store = FrameStore(options.run / "frames" / "pairs_test.json")
    scenes = []
    for number in options.scenes:
        first, stop = store.offsets[number : number + 2].tolist()
        images = store.read(np.array([first, stop - 1]))
        scenes.append(tiles(model, images, options.steps))
    frames = [frame(list(rows)) for rows in zip(*scenes, strict=True)]
    frames[0].save(options.out, save_all=True, append_images=frames[1:], duration=80, loop=0, quality=75, method=4)


if __name__ == "__main__":
    main()
