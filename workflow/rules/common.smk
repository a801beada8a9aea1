"""The checked configuration, the run's paths, and what rules share."""

import functools
from pathlib import Path

from wildrayzer.run.row_specs import row_spec
from wildrayzer.run.expected import (
    ExpectedScores,
    ablation_scores,
    compared_files,
    expected_scores,
)
from wildrayzer.config.effects import deciding_options
from wildrayzer.run.job_options import training_sections, ungated
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.continuation import continued_names
from wildrayzer.run.redo import allowed_stages
from wildrayzer.run.stage_versions import STAGE_VERSIONS
from wildrayzer.datasets.required import check_sources
from wildrayzer.datasets.table import load_table
from wildrayzer.io.digests import digest_folder

try:
    MAIN, SCORES = expected_scores(config)
    # In an ablation's module CFG has its changes, and RUN leads to the run's files for every stage that it shares.
    CFG, RUN = SCORES.config, SCORES.layout
    TABLE = load_table(CFG.data.sources)
    check_sources(CFG, TABLE)
    allowed_stages(config.get("redo"))
    continued_names(config.get("continue"))
except ValueError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    split="|".join(CFG.data.splits),
    evaluation_set="|".join([*CFG.data.splits, *CFG.benchmark.sets]),
    predictor="renderer|nearest|blurred",
    round=r"\d+",
    job=r"\d{5}",


def input_of(path):
    """What a job waits for that reads a path of the configuration: the run's link if the path is the place of a part of
    a source, so that the part is fetched first; otherwise the path itself."""
    at = TABLE.at(path)
    return path if at is None else RUN.source(*at)


@functools.cache
def files_below(folder):
    """Digest of the files in a folder from outside the run. As a param it reruns the job when files are replaced, which
    leaves the folder's own time of modification unchanged. There is none for folders that a workflow made, which bear a
    time stamp for that, nor for parts of sources, which are not replaced file by file.
    """
    made = Path(folder, ".snakemake_timestamp").exists() or TABLE.at(folder)
    return None if made or not Path(folder).is_dir() else digest_folder(folder)


def gpu_resources(count=1):
    """Resources of a GPU job; none on a CPU run."""
    wanted, model = min(count, CFG.compute.gpus), CFG.compute.gpu_model
    return {"gpu": wanted, **({"gpu_model": model} if wanted and model else {})}


def training_threads(recipe):
    """CPU threads of a training job."""
    return CFG.stage(recipe).threads or CFG.compute.threads


def training_options(recipe):
    """Options that decide the weights of a training stage, by section."""
    sections = training_sections(CFG, recipe)
    return {name: deciding_options(one) for name, one in sections.items()}


def training_splits(recipe):
    """Splits and cut-outs that a training stage learns from, and the stage that it starts from."""
    stage = CFG.stage(recipe)
    learned = {"static": CFG.data.static_train}
    if stage.dynamic_share:
        learned["dynamic"] = CFG.data.dynamic_train
    if stage.paste_share:
        learned["cutouts"] = CFG.data.coco.annotations
    if recipe == "joint":
        learned["parent"] = "masked" if CFG.masked else "distill"
    return learned


def validation_store():
    """Frames that training is watched on: they must be there, and changed ones are no reason to train again."""
    splits = CFG.data.of(role="static", purpose="test")[:1]
    return [ancient(RUN.store(split)) for split in splits]


def weight_files(*, perceptual=False, features=False, lpips=False):
    """Pretrained weights that a job reads from disk. As they are inputs, a missing one is named before any job starts."""
    found = []
    if perceptual and CFG.perceptual.kind == "vgg19":
        found.append(CFG.perceptual.weights)
    if features and CFG.features.path:
        found.append(CFG.features.path)
    if lpips and CFG.benchmark.lpips_weights:
        found.append(CFG.benchmark.lpips_weights)
    return list(map(input_of, found))


def training_resources():
    """Resources of a training job; memory and CPUs are those of one node."""
    compute = CFG.compute
    wanted = {
        "mem_mb": 128_000 if compute.gpus else 4_000,
        "runtime": 1440,
        "nodes": compute.nodes,
    }
    if compute.nodes == 1:
        return {**wanted, **gpu_resources(compute.gpus)}
    if compute.gpus:
        # GRES counts by node, where `gpu` counts by job and leaves the spread to Slurm
        model = f"{compute.gpu_model}:" if compute.gpu_model else ""
        return {**wanted, "gres": f"gpu:{model}{compute.gpus_per_node}"}
    return {**wanted, "gpu": 0, "tasks": compute.nodes}


def cutouts():
    """COCO annotations and images, or their embedded stand-in."""
    coco = CFG.data.coco
    if coco.annotations is not None:
        return {
            "annotations": input_of(coco.annotations),
            "images": input_of(coco.images),
        }
    return {
        "annotations": f"{RUN.cutouts}/annotations/instances_train2014.json",
        "images": f"{RUN.cutouts}/train2014",
    }


def renderer_of(round_number):
    """Checkpoint of the frozen renderer that a round starts from."""
    number = int(round_number)
    return (
        RUN.checkpoint("pretrain")
        if number == 1
        else RUN.checkpoint("joint", number - 1)
    )


# Snakemake's `scattergather` has one number of items per name, which --set-scatter overrides, and no way to tell splits
# apart: here the parts of the training split are shared out, and the number is an option of the run. It must not follow
# from manifests: every job reads this file again, and manifests change while the workflow runs.
def jobs_of(split, stage="residuals"):
    """Number of jobs that share out the parts of a split; only the training split is large."""
    return getattr(CFG, stage).shards if split == CFG.data.dynamic_train else 1


def job_names(split, stage="residuals"):
    """Wildcards `job` and `jobs` of each of these jobs."""
    count = jobs_of(split, stage)
    return [(f"{job:05d}", f"{count:05d}") for job in range(count)]


def mask_receipts(wildcards):
    """Receipts of the jobs that make a split's parts before they are listed; none where one job does both."""
    where = (wildcards.round, wildcards.split, wildcards.predictor)
    jobs = job_names(wildcards.split, "refine")
    return [RUN.mask_receipt(*where, *job) for job in jobs] if len(jobs) > 1 else []
