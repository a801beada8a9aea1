"""What was run: options that differ from the paper, checkpoints, machine, time and memory."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from wildrayzer import __version__
from wildrayzer.checkpoint import CheckpointManifest, read_manifest
from wildrayzer.config import RunConfig
from wildrayzer.io.digests import digest_json
from wildrayzer.io.provenance import processor
from wildrayzer.report.page.page import Block, KeyValues, Note, TextTable
from wildrayzer.run.expected import stage_name, training_runs
from wildrayzer.run.layout import RunLayout

_PACKAGES = ("torch", "numpy", "zarr", "opencv-python-headless", "snakemake")
_NOT_MEASURED = ["-", "NA"]


def summary(config: RunConfig) -> str:
    """The run in a paragraph, from its configuration."""
    model, data = config.model, config.data
    views = "/".join(map(str, sorted(set(config.pretrain.views.inputs))))
    masked = f", masked reconstruction for {config.masked.steps} steps" if config.masked else ""
    start = (
        f"a static renderer was taken from {config.pretrained}"
        if config.pretrained
        else f"a static renderer was pretrained for {config.pretrain.steps} steps of {config.pretrain.batch} samples "
        f"({views} input views) on {data.static_train}"
    )
    first = (
        f"Run {config.name}, seed {config.seed}. On {model.image_size} px frames in {model.patch_size} px patches "
        f"(width {model.width}), {start}."
    )
    if not config.learns_motion:
        return f"{first} The run ends there: its network has no motion head."
    return (
        f"{first} Its residuals on windows of "
        f"up to {config.residuals.targets} targets gave pseudo-masks of {data.dynamic_train}, from which the motion "
        f"head was distilled for {config.distill.steps} steps{masked}, then both were trained jointly for "
        f"{config.joint.steps} steps with copy-paste. Rounds of masks and training: {config.rounds}."
    )


def stand_ins(config: RunConfig) -> KeyValues:
    """Feature backbone and perceptual loss, named as what they are."""
    features, perceptual = config.features, config.perceptual
    backbone = (
        ("DINOv3" if features.backbone == "dinov3" else "timm") + f", {features.weights}"
        if features.has_weights
        else "dense descriptor (Lab statistics and oriented gradients), without learned weights; this is not DINOv3"
    )
    losses = {
        "vgg19": f"VGG-19 features, {perceptual.weights}",
        "pyramid": "gradient pyramid, a substitute without learned weights; this is not VGG-19",
        "none": "none",
    }
    off = ": switched off" if perceptual.weight == 0 else ""
    loss = f"{losses[perceptual.kind]} (weight {perceptual.weight:g}{off})"
    digest = digest_json(config.model_dump(mode="json"))
    if not config.learns_motion:
        backbone = "none is used: the network has no motion head"
    return KeyValues(
        (("Feature backbone", backbone), ("Perceptual loss", loss), ("Digest of all options except watch", digest))
    )


def deviations(config: RunConfig) -> KeyValues:
    """Options that differ from the paper, each with what the configuration's reference says of it."""
    rows = tuple((deviation, describe(deviation.partition(": ")[0])) for deviation in config.deviations)
    return KeyValues(
        rows or (("nothing", "every option that the paper gives is as in the paper"),), "Differs from the paper"
    )


def describe(option: str) -> str:
    """Description of an option, or of a section, by its dotted name, on one line."""
    section: Any = RunConfig
    text = ""
    for part in option.split("."):
        field = section.model_fields[part]
        text = field.description or ""
        choices = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return " ".join(text.replace("`", "").split())


def machine() -> KeyValues:
    """The machine that writes the report, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    software = [f"wildrayzer {__version__}", f"Python {platform.python_version()}", *map(_installed, _PACKAGES)]
    return KeyValues(
        (
            ("Machine of this report", f"{processor()}, {os.cpu_count()} logical cores, {memory:.0f} GiB memory"),
            ("System", platform.platform()),
            ("Versions", ", ".join(filter(None, software))),
        )
    )


def _installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def checkpoints(config: RunConfig, layout: RunLayout) -> list[Block]:
    """A table of the checkpoints that exist, and a sentence on those that do not."""
    rows, absent = [], []
    for stage, number in training_runs(config):
        folder = Path(layout.checkpoint(stage, number))
        if (folder / "manifest.json").is_file():
            rows.append(_checkpoint_row(stage_name(stage, number), read_manifest(folder)))
        else:
            absent.append(stage_name(stage, number))
    columns = ("stage", "steps", "inputs", "weights", "parent", "options and data", "backbone", "kernel", "wildrayzer")
    notes = ("Weights, parent, options and data: first 16 hexadecimal digits of SHA-256, as in the manifests.",)
    blocks: list[Block] = [TextTable("Checkpoints", columns, tuple(rows), notes)] if rows else []
    if absent:
        blocks.append(Note(f"Not trained yet, so left out: {'; '.join(absent)}."))
    return blocks


def _checkpoint_row(name: str, about: CheckpointManifest) -> tuple[str, ...]:
    return (
        name, str(about.step), ", ".join(map(str, about.inputs)), about.weights_digest, about.parent or "–",
        about.config_digest, str(about.extra.get("features") or "–"), about.attention_kernel,
        about.versions.get("wildrayzer", "–"),
    )  # fmt: skip


def costs(layout: RunLayout) -> Block:
    """Time and peak memory of every rule, from Snakemake's benchmark files; ablations' own jobs are named apart."""
    folder = Path(layout.benchmark("any")).parent.parent
    ablations = sorted((folder.parent / "ablations").glob("*/benchmarks"))
    parts = [_read_costs(folder, "")] + [_read_costs(one, f"{one.parent.name}: ") for one in ablations]
    files = [file for part in parts for file in part]
    if not files:
        return Note(f"No benchmark files under {folder}, so time and memory are left out.")
    measured = pd.concat(files, ignore_index=True)
    rows = [
        (str(rule), str(len(jobs)), _time(jobs["s"].sum()), _time(jobs["s"].max()), _memory(jobs["max_rss"].max()))
        for rule, jobs in measured.groupby("rule", sort=False)
    ]
    total = ("all", str(len(measured)), _time(measured["s"].sum()), _time(measured["s"].max()),
             _memory(measured["max_rss"].max()))  # fmt: skip
    return TextTable(
        "Time and memory",
        ("rule", "jobs", "time in all", "longest job", "peak memory"),
        tuple(rows),
        ("Wall-clock time added over jobs, some of which ran side by side; peak resident memory of one job.",),
        total,
    )


def _read_costs(folder: Path, prefix: str) -> list[pd.DataFrame]:
    ordered = sorted(folder.rglob("*.tsv"), key=lambda file: file.stat().st_mtime)
    return [
        pd.read_csv(file, sep="\t", na_values=_NOT_MEASURED, usecols=["s", "max_rss"]).assign(
            rule=prefix + file.relative_to(folder).parts[0]
        )
        for file in ordered
    ]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _memory(mebibytes: float) -> str:
    return "not measured" if pd.isna(mebibytes) else f"{mebibytes / 1024:.2f} GiB"
