"""The weights that a training stage starts from: drawn anew, a parent's, or those of a renderer from outside."""

import shutil
from pathlib import Path

import torch

from wildrayzer.checkpoint import load_checkpoint, write_checkpoint
from wildrayzer.config import ModelConfig
from wildrayzer.config.sections.model import MotionHeadConfig
from wildrayzer.models import WildRayZer
from wildrayzer.models.dino_tokenizer import DinoTokenizer
from wildrayzer.training.job import TrainingJob


def initial_model(job: TrainingJob) -> WildRayZer:
    """The network that a stage starts from: drawn anew, or its parent's with the options that may differ.

    Raises:
        ValueError: a broken parent, or one of another network.
    """
    if job.parent is None:
        torch.manual_seed(job.seed)
        return with_tokenizer_weights(WildRayZer(job.model))
    model, _ = load_checkpoint(job.parent, device="cpu")
    if job.recipe == "distill" and model.config.motion_head != job.model.motion_head:
        model = _with_new_head(model, job.model.motion_head, seed=job.seed)
    check_options(model.config, job.model, job.parent)
    return _with_options(model, job.model)


def with_tokenizer_weights(model: WildRayZer) -> WildRayZer:
    """The same network with the pretrained weights of its DINOv3 image tokenizer, if it has one.

    Raises:
        ValueError: no folder named, or weights of other sizes than `model.dinov3`.
    """
    tokenizer = None if model.image_tokenizer is None else model.image_tokenizer.projection
    if not isinstance(tokenizer, DinoTokenizer):
        return model
    folder = tokenizer.options.weights
    if folder is None or not (Path(folder) / "config.json").is_file():
        raise ValueError(
            f"model.dinov3.weights = {folder!r}: no folder with config.json; name a local Hugging Face folder of a "
            "DINOv3 ViT for model.image_tokenizer: dinov3"
        )
    loaded = type(tokenizer.vit).from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    try:
        tokenizer.vit.load_state_dict(loaded.state_dict())
    except RuntimeError as error:
        raise ValueError(f"model.dinov3 has other sizes than the weights in {folder}: {error}") from None
    return model


def adopt_pretrained(source: str, out: str, *, model: ModelConfig) -> None:
    """Copy the checkpoint of a static renderer into a run, after checking that it is whole and of the run's sizes.

    Pretraining does not train the motion head. A pretrained renderer without one, or with another one, is therefore
    given the run's, with initial weights that are always the same, and keeps its other weights.

    Raises:
        ValueError: a broken checkpoint, one of other sizes, or one of a later stage with another motion head.
    """
    renderer, manifest = load_checkpoint(source, device="cpu")
    same_head = renderer.config.model_copy(update=_free(renderer.config, model)).motion_head == model.motion_head
    trained_head = renderer.config.motion_head is not None and manifest.stage != "pretrain"
    if same_head or trained_head or model.motion_head is None:
        check_options(renderer.config, model, source)
        shutil.copytree(source, out, dirs_exist_ok=True)
        return
    check_options(renderer.config.model_copy(update={"motion_head": model.motion_head}), model, source)
    renewed = _with_new_head(renderer, model.motion_head, seed=0)
    about = manifest.model_dump(exclude={"stage", "model", "parent", "weights_digest", "versions"})
    parent = manifest.weights_digest
    write_checkpoint(out, renewed.state_dict(), stage="pretrain", model=renewed.config, parent=parent, **about)


def check_options(found: ModelConfig, wanted: ModelConfig, path: str) -> None:
    """Refuse a checkpoint of another network.

    Raises:
        ValueError: naming the options that differ.
    """
    ours, theirs = wanted.model_dump(), found.model_copy(update=_free(found, wanted)).model_dump()
    wrong = [
        f"model.{name} is {theirs[name]}, this run has {ours[name]}" for name in ours if ours[name] != theirs[name]
    ]
    if wrong:
        raise ValueError(
            f"{path} holds another network: {'; '.join(wrong)}; train from the stage before again, or set the "
            "`model` section as in its manifest.json"
        )


def _with_new_head(model: WildRayZer, head: MotionHeadConfig | None, *, seed: int) -> WildRayZer:
    """The same renderer with another motion head, drawn from `seed`: an ablation's, or the first it has."""
    torch.manual_seed(seed)
    renewed = WildRayZer(model.config.model_copy(update={"motion_head": head}))
    renewed.load_state_dict({**renewed.state_dict(), **_renderer_state(model)})
    return renewed


def _renderer_state(model: WildRayZer) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("motion_head.")}


def _free(found: ModelConfig, wanted: ModelConfig) -> dict[str, object]:
    """Options that may differ from the parent's: they change speed, memory or the gate, not what weights there are."""
    free: dict[str, object] = {"attention": wanted.attention, "checkpoint_every": wanted.checkpoint_every}
    if found.motion_head is not None and wanted.motion_head is not None:
        free["motion_head"] = found.motion_head.model_copy(update={"threshold": wanted.motion_head.threshold})
    return free


def _with_options(model: WildRayZer, config: ModelConfig) -> WildRayZer:
    if model.config == config:
        return model
    renewed = WildRayZer(config)
    renewed.load_state_dict(model.state_dict())
    return renewed
