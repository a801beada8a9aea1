"""What a rehearsal's jobs took and what they showed."""

from pathlib import Path

import pandas as pd

from tests.rehearsal import memory

COVERED = {
    "fetch": "download from a server, checksum, unpacking of the published archives",
    "prepare_split": "chunks and folders as published to 256 px frame stores",
    "pretrain": "full network and VGG-19 loss, torchrun on two nodes, state, checkpoint",
    "plan_windows": "residual windows of every clip",
    "write_index": "drawn windows of 2, 3 and 4 inputs",
    "unmasked": "the control without masks",
    "residual_part": "frozen renderer, DINOv3 ViT-S/16, SSIM at full size; four jobs share the training split",
    "list_residuals": "the manifest of these jobs' parts",
    "vote_masks": "votes, without the absolute test, as in the paper",
    "refine_part": "GrabCut at 256 px; four jobs share the training split",
    "refine_masks": "the same of the other splits; the manifest",
    "distill": "motion head on DINOv3's features and pseudo-masks",
    "masked": "token masks, gates",
    "joint": "copy-paste with COCO's files, all losses",
    "score_views": "2, 3 and 4 inputs, published windows, LPIPS with VGG-16",
    "score_masks": "masks of the motion head against true masks",
    "score_input_masks": "pseudo-masks against true masks",
    "score_renderer": "held-out static clips",
    "write_tables": "every table of the paper",
    "write_report": "the page",
}
"""What a job of each kind does as in the full run."""
MEMORY = (
    "Memory of training is that of all its processes on both nodes, sampled every second; that of other jobs is what "
    "Snakemake measured."
)
MEMORY_FILE = "memory.json"
GPU_ONLY = (
    "Only a GPU shows: bfloat16 and TF32, CUDA kernels and xformers, NCCL, DINOv3 with 7B parameters, full batches, "
    "memory and time on the card."
)


def job_table(folder: Path, name: str) -> str:
    """Jobs of a run by kind: number, wall time, largest resident memory, and what they covered, as Markdown."""
    rows = []
    for file in sorted((folder / "results" / name / "benchmarks").rglob("*.tsv")):
        kind = file.relative_to(folder / "results" / name / "benchmarks").parts[0]
        rows.append({"kind": kind, **pd.read_csv(file, sep="\t").iloc[0].to_dict()})
    if not rows:
        return f"## {name}\n\nno job has ended"
    lines = [f"## {name}", "", "| job | number | seconds, all | seconds, longest | memory, GB | as in the full run |",
             "| --- | ---: | ---: | ---: | ---: | --- |"]  # fmt: skip
    table, peaks = pd.DataFrame(rows), memory.read(folder / MEMORY_FILE)
    for kind, group in table.groupby("kind", sort=False):
        held = memory.of_stage(peaks, name, str(kind)) or pd.to_numeric(group["max_rss"], errors="coerce").max() / 1024
        lines.append(
            f"| {kind} | {len(group)} | {group['s'].sum():.0f} | {group['s'].max():.0f} | {held:.1f} "
            f"| {COVERED.get(str(kind), '')} |"
        )
    return "\n".join([*lines, "", f"{len(table)} jobs. {MEMORY} {GPU_ONLY}"])
