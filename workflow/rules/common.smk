"""The checked configuration, the run's paths, and what rules share."""

from pathlib import Path

from wildrayzer.config import ConfigError, control_stage, parse_config
from wildrayzer.layout import RunLayout

try:
    CFG = parse_config(config, source="configuration")
except ConfigError as error:
    raise WorkflowError(str(error)) from None

RUN = RunLayout(CFG.name)


wildcard_constraints:
    split="|".join(CFG.data.splits),
    source="renderer|nearest|blurred",
    round=r"\d+",
    part=r"\d{5}",


def section(name):
    """A configuration section as plain data: a rule's `params:` holds what it depends on and nothing else."""
    value = getattr(CFG, name)
    return None if value is None else value.model_dump(mode="json")


def gpu_resources(count=1):
    """Resources of a GPU job; none on a CPU run."""
    wanted = min(count, CFG.compute.gpus)
    return {"gpu": wanted, "gpu_model": CFG.compute.gpu_model} if wanted else {"gpu": 0}


def stage_of(recipe):
    """Options of a training stage; the control's follow from masked and joint training."""
    return (
        control_stage(CFG.masked, CFG.joint)
        if recipe == "unmasked"
        else getattr(CFG, recipe)
    )


def training_threads(recipe):
    """CPU threads of a training job."""
    return stage_of(recipe).threads or CFG.compute.threads


def training_job(recipe):
    """What a training job is told beside its files."""
    stage = (
        section(recipe)
        if recipe != "unmasked"
        else control_stage(CFG.masked, CFG.joint).model_dump(mode="json")
    )
    names = {"seed", "model", "perceptual"}
    if recipe in ("distill", "masked", "joint"):
        names |= {"features"}
    if recipe == "joint":
        names |= {"paste"}
    shared = CFG.model_dump(mode="json", include=names)
    return {
        "recipe": recipe,
        "stage": stage,
        **shared,
        "device": CFG.compute.device,
        "processes": CFG.world_size,
        "preload_mb": CFG.data.store.preload_mb,
    }


def weight_files(*, perceptual=False, features=False, lpips=False):
    """Pretrained weights that a job reads from disk: as inputs, a missing one is named before any job starts."""
    found = []
    if perceptual and CFG.perceptual.kind == "vgg19":
        found.append(CFG.perceptual.weights)
    folder = Path(CFG.features.weights)  # or the id of a model on the hub
    local = folder.is_absolute() or folder.parts[0] in (".", "..", "resources")
    if features and CFG.features.backbone == "dinov3" and local:
        found.append(CFG.features.weights)
    if lpips and CFG.benchmark.lpips_weights:
        found.append(CFG.benchmark.lpips_weights)
    return found


def training_resources():
    """Resources of a training job."""
    memory = 128_000 if CFG.compute.gpus else 4_000
    return {
        "mem_mb": memory,
        "runtime": 1440,
        "nodes": 1,
        **gpu_resources(CFG.compute.gpus),
    }


def cutouts():
    """COCO annotations and images, or their embedded stand-in."""
    coco = CFG.data.coco
    if coco.annotations is not None:
        return {"annotations": coco.annotations, "images": coco.images}
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


def embedded_params(split):
    """What an embedded split depends on: the generator's options, its own, and those of the split it repeats."""
    made = CFG.data.embedded.model_dump(mode="json", exclude={"splits", "cutouts"})
    names = [split, CFG.data.embedded.splits[split].seed_of]
    splits = {
        name: CFG.data.embedded.splits[name].model_dump(mode="json")
        for name in names
        if name
    }
    return {**made, "splits": splits}


def parts_of(split):
    """Jobs a split's windows are divided into; only the training split is large."""
    return CFG.residuals.shards if split == CFG.data.dynamic_train else 1


STAGES = {
    "static": "pretrain",
    "static_true_masks": "pretrain",
    "static_clean": "pretrain",
    "distilled": "distill",
    "joint": "joint",
    "joint_true_masks": "joint",
    "joint_clean": "joint",
    "unmasked": "unmasked",
}


def checkpoint_of(method):
    """Checkpoint that a method renders with; none for the image-only controls. Scores are those of the last round."""
    stage = STAGES.get(method)
    if stage is None:
        return []
    return (
        renderer_of(CFG.rounds)
        if stage == "pretrain"
        else RUN.checkpoint(stage, CFG.rounds)
    )
