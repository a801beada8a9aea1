"""The picture of the README, from a finished run: inputs, what the motion head masks, renderings, clean truth.

    .venv/bin/python docs/figures/overview.py results/showcase docs/figures/overview.png

It reads the pictures that the scoring jobs kept for `pairs_test`, where the clean frame is known. By default it shows
the first scenes of the split.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

RED = np.array([220, 30, 40])


def read(run: Path, method: str, split: str) -> dict[str, np.ndarray]:
    """Pictures of a method's scoring job, uint8 `[scenes h w 3]`, and its token masks `[scenes inputs g g]`."""
    with np.load(run / "scores" / "views" / f"{method}-{split}-2.npz") as archive:
        return {name: archive[name] for name in archive.files}


def masked(image: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """An image with the tokens that the noise token replaced in red."""
    patch = len(image) // len(tokens)
    mask = np.kron(tokens, np.ones((patch, patch)))[..., None] > 0
    return np.where(mask, 0.35 * image + 0.65 * RED, image).astype(np.uint8)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, for example results/showcase")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--split", default="pairs_test")
    parser.add_argument("--scenes", type=int, nargs="+", default=[0, 1, 2], help="rows, as numbers of kept scenes")
    options = parser.parse_args()
    joint, static = (read(options.run, method, options.split) for method in ("joint", "static"))
    titles = ("input 1", "input 2", "masked 1", "masked 2", "recorded", "no masks", "WildRayZer", "clean truth")
    figure, axes = plt.subplots(len(options.scenes), len(titles), figsize=(11, 1.4 * len(options.scenes) + 0.3))
    for row, scene in zip(np.atleast_2d(axes), options.scenes, strict=True):
        inputs, tokens = joint["inputs"][scene], joint["token_mask"][scene]
        shown = [*inputs, *map(masked, inputs, tokens), joint["recorded"][scene]]
        shown += [static["rendering"][scene], joint["rendering"][scene], joint["truth"][scene]]
        for axis, image in zip(row, shown, strict=True):
            axis.imshow(image, interpolation="bilinear")
            axis.set_axis_off()
    for axis, title in zip(np.atleast_2d(axes)[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.3)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
