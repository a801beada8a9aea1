"""What each deviation from the paper gives at the demo's size: a short pretraining without one of them at a time.

    python benchmarks/deviations.py --config config/demo.yaml --run results/demo --steps 800

Trains on the run's own frame stores and judges on its held-out static clips, with 2 inputs: PSNR and how far it is
above copying the nearest input, R² of the predicted cameras (`shift`: slide and pan together), and the PSNR that is
lost when targets are rendered with each other's poses. One seed and a fraction of the demo's steps: it says what
learns early.
"""

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from wildrayzer.config import RunConfig
from wildrayzer.config.load import parse_config
from wildrayzer.run.layout import RunLayout
from wildrayzer.stages.score_renderer import score_renderer_health
from wildrayzer.stages.train import train
from wildrayzer.training.job import TrainingJob
from wildrayzer.training.logging import read_metrics

VARIANTS: dict[str, dict[str, Any]] = {
    "the demo's options": {},
    "model.camera_encoder: joint": {"model": {"camera_encoder": "joint", "matching_init": False}},
    "the same and model.view_embedding: number": {
        "model": {"camera_encoder": "joint", "matching_init": False, "view_embedding": "number"}
    },
    "model.matching_init: false": {"model": {"matching_init": False}},
    "model.ray_encoding: raw": {"model": {"ray_encoding": "raw"}},
    "model.decoder_context: scene": {"model": {"decoder_context": "scene"}},
    "model.decoder_attention: self": {"model": {"decoder_attention": "self"}},
    "model.token_fusion: mlp": {"model": {"token_fusion": "mlp"}},
    "model.focal: predicted": {"model": {"focal": "predicted"}},
    "perceptual.weight: 0": {"perceptual": {"weight": 0.0}},
    "pretrain.crop_pretext.steps: 0": {"pretrain": {"crop_pretext": {"steps": 0}}},
    "neither flips nor permuted colours": {"pretrain": {"views": {"flip": False, "permute_colours": False}}},
}


def merged(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of `raw` with the values of `changes`, section by section, as Snakemake takes --config."""
    both = copy.deepcopy(raw)
    update_config(both, changes)
    return both


def shortened(raw: dict[str, Any], steps: int) -> dict[str, Any]:
    """The configuration with fewer steps of pretraining; the crop pretext keeps its share of them."""
    stage = raw["pretrain"]
    pretext = stage.get("crop_pretext", {}).get("steps", 0)
    changes = {"steps": steps, "validate_every": steps, "crop_pretext": {"steps": steps * pretext // stage["steps"]}}
    return merged(raw, {"pretrain": changes})


def figures(config: RunConfig, run: RunLayout, folder: Path) -> dict[str, float]:
    """Train, and judge on held-out clips."""
    model = config.model.model_copy(update={"motion_head": None})
    test = config.data.of(role="static", purpose="test")[0]
    job = TrainingJob(
        recipe="pretrain",
        seed=config.seed,
        stage=config.stage("pretrain"),
        model=model,
        perceptual=config.perceptual,
        device="cpu",
        threads=1,
        processes=1,
        preload_mb=config.data.store.preload_mb,
        static_store=run.store(config.data.static_train),
        validation_store=run.store(test),
        state=str(folder / "state"),
        checkpoint=str(folder / "checkpoint"),
        metrics=str(folder / "metrics.jsonl"),
    )
    begun = time.perf_counter()
    train(job)
    minutes = (time.perf_counter() - begun) / 60
    score_renderer_health(
        split=test,
        inputs=2,
        store_path=run.store(test),
        checkpoint_dir=job.checkpoint,
        config=config.benchmark,
        out=folder / "health.json",
    )
    health = json.loads((folder / "health.json").read_text(encoding="utf-8"))
    last = read_metrics(Path(job.metrics), "validation")[-1]
    records = read_metrics(Path(job.metrics), "train")
    timed = records[-1]["step"] - records[0]["step"]
    return {
        "psnr": last["psnr"],
        "above_nearest": last["above_nearest"],
        "r2": (health["camera_r2"] or {}).get("shift", float("nan")),
        "swapped": health["figures"]["swapped"]["mean"],
        "minutes": minutes,
        "milliseconds": 1e3 * (records[-1]["time"] - records[0]["time"]) / timed if timed else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run of that configuration")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--only", nargs="*", default=[], help="variants whose name contains one of these words")
    given = parser.parse_args()
    raw = shortened(yaml.safe_load(given.config.read_text(encoding="utf-8")), given.steps)
    wanted = {name: made for name, made in VARIANTS.items() if not given.only or any(w in name for w in given.only)}
    configs = {name: parse_config(merged(raw, changes), source=name) for name, changes in wanted.items()}
    run = RunLayout(given.run.name, str(given.run.parent))
    print(f"pretraining of {given.steps} steps, one thread, held-out static clips of {given.run}\n")
    print("| without | PSNR, dB | above the nearest view, dB | R² of shift | another target's pose, dB | minutes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name, config in configs.items():
        with tempfile.TemporaryDirectory() as folder:
            found = figures(config, run, Path(folder))
        print(
            f"| {name} | {found['psnr']:.2f} | {found['above_nearest']:+.2f} | {found['r2']:.2f} "
            f"| {found['swapped']:+.2f} | {found['minutes']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
