"""Open-RayZer's options on and off at the demo's size, and what true cameras are worth: a pretraining of each.

    snakemake --cores 2 frames                                  # the demo's frame stores, if there is no finished demo
    python benchmarks/systems.py --config config/demo.yaml --run results/demo --steps 400

The 16 rows take about 35 minutes of processor time. With `--steps 800`, as in
`benchmarks/deviations.py`, a group (`--only "pairs of views"`) stays below that.

Every row trains for the same number of steps, on the same clips in the same order, on one thread, and is judged on
held-out static clips with 2 inputs: PSNR and how far it is above copying the nearest input, R² of the predicted cameras
(`shift`: slide and pan together), the PSNR that is lost when targets are rendered with each other's poses, and the time
of a training step. Three groups:

- the demo's network, whose camera encoder sees pairs of views;
- a joint camera encoder, as in RayZer and Open-RayZer, which the options of camera attention and camera head need;
- true cameras: the same renderer with them, and LVSM with as many blocks and the same width. These rows are the upper
  bound, and show the fusion of tokens and their positions without the search for cameras.

One seed and a fraction of the demo's steps: it says what learns early. DINOv3 as image tokenizer is not among the rows,
since its weights are not part of the repository.
"""

import argparse
import copy
import math
import tempfile
from pathlib import Path
from typing import Any

import yaml
from deviations import figures, merged, shortened

from wildrayzer.config.load import parse_config
from wildrayzer.run.layout import RunLayout

JOINT = {"camera_encoder": "joint", "matching_init": False}
OPEN = {
    **JOINT,
    "image_range": "unit",
    "patch_positions": "rope2d",
    "view_embedding": "none",
    "camera_attention": "alternating",
    "camera_head": "pi3",
    "token_fusion": "pixel",
    "encoder_norm": True,
    "output_norm": "plain",
}
GIVEN = {"cameras": "given", "matching_init": False}
LVSM = {"image_size", "patch_size", "width", "head_width", "init_std"}
"""Options that LVSM's networks share with the demo's."""
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "pairs of views": {
        "the demo's network": {},
        "patch_positions: rope2d": {"patch_positions": "rope2d"},
        "image_range: unit": {"image_range": "unit"},
        "token_fusion: mlp": {"token_fusion": "mlp"},
        "token_fusion: pixel": {"token_fusion": "pixel"},
        "token_fusion: residual": {"token_fusion": "residual"},
        "encoder_norm: true, output_norm: plain": {"encoder_norm": True, "output_norm": "plain"},
    },
    "joint camera encoder": {
        "camera_encoder: joint": JOINT,
        "and camera_attention: alternating": {**JOINT, "camera_attention": "alternating"},
        "and camera_head: pi3": {**JOINT, "camera_head": "pi3", "view_embedding": "none"},
        "all of Open-RayZer": OPEN,
    },
    "true cameras": {
        "the demo's renderer": GIVEN,
        "and token_fusion: mlp": {**GIVEN, "token_fusion": "mlp"},
        "and token_fusion: pixel": {**GIVEN, "token_fusion": "pixel"},
        "LVSM, encoder and decoder": {"kind": "lvsm", "scene_blocks": 1, "decoder_blocks": 3, "scene_tokens": 64},
        "LVSM, decoder only": {"kind": "lvsm_decoder_only", "decoder_blocks": 4},
    },
}


def renderer_alone(raw: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run that ends after pretraining, on the same data."""
    own = copy.deepcopy({name: value for name, value in raw.items() if name != "ablations"})
    own["benchmark"] = {"methods": ["nearest"], "inputs": [2], "targets": raw["benchmark"]["targets"],
                        "min_distance": raw["benchmark"]["min_distance"]}  # fmt: skip
    own["data"]["dynamic_train"] = own["model"]["motion_head"] = None
    own["watch"] = {"health": {"by": None}}  # so few steps are never healthy
    return own


def variant(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The configuration with other options of the network."""
    if "kind" in changes:
        kept = {name: value for name, value in raw["model"].items() if name in LVSM}
        own = {**raw, "model": {**kept, **changes}}
    else:
        own = merged(raw, {"model": changes})
    return merged(own, {"pretrain": {"crop_pretext": {"steps": 0}}}) if {"kind", "cameras"} & changes.keys() else own


def number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run of that configuration")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", nargs="*", default=[], help="rows whose group or name contains one of these words")
    given = parser.parse_args()
    raw = renderer_alone(shortened(yaml.safe_load(given.config.read_text(encoding="utf-8")), given.steps))
    rows = {
        (group, name): parse_config(variant(raw, changes), source=name)
        for group, members in GROUPS.items()
        for name, changes in members.items()
        if not given.only or any(word in f"{group} {name}" for word in given.only)
    }
    run = RunLayout(given.run.name, str(given.run.parent))
    print(f"pretraining of {given.steps} steps, one thread, held-out static clips of {given.run}\n")
    print("| cameras | network | PSNR, dB | above the nearest view, dB | R² of shift | another target's pose, dB "
          "| ms per step |")  # fmt: skip
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for (group, name), config in rows.items():
        with tempfile.TemporaryDirectory() as folder:
            found = figures(config, run, Path(folder))
        print(
            f"| {group} | {name} | {found['psnr']:.2f} | {found['above_nearest']:+.2f} | {number(found['r2'], '.2f')} "
            f"| {found['swapped']:+.2f} | {found['milliseconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
