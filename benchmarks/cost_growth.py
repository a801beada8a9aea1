"""How time and memory of a pretraining step grow with views, tokens, width and batch, against the formulas.

    python benchmarks/cost_growth.py --plot docs/figures/cost-growth.svg

One size is changed at a time. Time is the median of a few steps, divided by what the operation count predicts from the
step in the middle; memory is what autograd saves for the backward pass, against the formula for the blocks.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from wildrayzer.config import ModelConfig
from wildrayzer.losses import gated_mse
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import Workload, model_cost, total
from wildrayzer.models.cost.memory import activation_bytes

MODEL = ModelConfig(
    image_size=48, patch_size=6, width=192, head_width=48, camera_blocks=3, scene_blocks=2, decoder_blocks=3,
    scene_tokens=64, motion_head=None,
)  # fmt: skip
WORK = Workload(batch=2, inputs=2, targets=4)
AXES = {
    "target views": ("targets", (1, 2, 4, 8)),
    "tokens a view": ("image_size", (24, 36, 48, 72)),
    "width": ("width", (96, 144, 192, 288)),
    "batch": ("batch", (1, 2, 4, 8)),
}


def cases() -> Iterator[tuple[str, int, ModelConfig, Workload]]:
    """Axis, place on it, and sizes."""
    for axis, (name, values) in AXES.items():
        for value in values:
            if name in ("targets", "batch"):
                work = Workload(**{**vars(WORK), name: value})
                yield axis, value, MODEL, work
            else:
                model = MODEL.model_copy(update={name: value})
                place = model.grid**2 if name == "image_size" else value
                yield axis, place, model, WORK


def measured(config: ModelConfig, work: Workload, steps: int) -> tuple[float, int]:
    """Median seconds of a step, and bytes of distinct storages that autograd saves."""
    torch.manual_seed(0)
    model = WildRayZer(config)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    images = torch.rand(work.batch, work.views, 3, config.image_size, config.image_size)
    saved: dict[int, int] = {}
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    def step() -> None:
        loss = gated_mse(model(images, work.inputs).render, images[:, work.inputs :]).value
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    kept.clear()
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), sum(saved.values())


def plot(rows: list[tuple[str, int, float, float, float, float]], path: Path) -> None:
    """Two rows of panels, time and memory, a column an axis; measured as dots, formulas as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(2, len(AXES))
    for column, axis in enumerate(AXES):
        own = [row for row in rows if row[0] == axis]
        places = [row[1] for row in own]
        for panel, taken, formula, label in (
            (panels[0, column], [1e3 * row[2] for row in own], [1e3 * row[3] for row in own], "time of a step (ms)"),
            (panels[1, column], [row[4] / 1e6 for row in own], [row[5] / 1e6 for row in own], "activations (MB)"),
        ):
            panel.plot(places, formula, color="#767676", label="formula")
            panel.plot(places, taken, "o", color="#0068a8", label="measured")
            panel.set(xscale="log", yscale="log", xlabel=axis, ylabel=label if column == 0 else "")
            panel.set_xticks(places, [str(place) for place in places])
            panel.minorticks_off()
            panel.grid(color="#e6e6e6")
            panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(epilog=__doc__)
    parser.add_argument("--plot", type=Path, default=None, help="SVG to write")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rate = total(model_cost(MODEL, WORK)).total / measured(MODEL, WORK, given.steps)[0]
    print(f"base: {WORK}, width {MODEL.width}, {MODEL.grid**2} tokens a view, {rate / 1e9:.1f} GFLOP/s reached")
    print(f"{'axis':<15}{'at':>5} {'ms':>9} {'formula':>9} {'ratio':>6} {'MB':>8} {'formula':>8} {'ratio':>6}")
    rows = []
    for axis, place, config, work in cases():
        seconds, saved = measured(config, work, given.steps)
        expected = total(model_cost(config, work)).total / rate
        formula = activation_bytes(config, work)
        rows.append((axis, place, seconds, expected, float(saved), float(formula)))
        print(
            f"{axis:<15}{place:>5} {1e3 * seconds:9.1f} {1e3 * expected:9.1f} {seconds / expected:6.2f} "
            f"{saved / 1e6:8.1f} {formula / 1e6:8.1f} {saved / formula:6.2f}"
        )
    if given.plot is not None:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
