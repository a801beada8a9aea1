"""Data of a training job: stores and labels, the samples of a step, and the micro-batches made of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from wildrayzer.config import StageConfig
from wildrayzer.data.copy_paste.cutouts import CutoutLibrary
from wildrayzer.data.copy_paste.paste import paste
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.views import ViewDataset
from wildrayzer.images import UNKNOWN
from wildrayzer.io.digests import digest_json
from wildrayzer.pseudo_masks.cache.cache import PixelMasks, ResidualMaps
from wildrayzer.training.augmentation import draw_crops, draw_token_mask
from wildrayzer.training.batch import Batch, Sample, collate
from wildrayzer.training.job import TrainingJob

Kind = Literal["static", "dynamic"]
Paste = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]]
_STREAMS: dict[Kind, int] = {"static": 1, "dynamic": 2}
_PASTE_STREAM, _TOKEN_STREAM, _CROP_STREAM = 7, 11, 13


@dataclass(frozen=True)
class SampleRef:
    """Names one sample: a pass over the split (`epoch`) and a scene of it."""

    kind: Kind
    epoch: int
    scene: int


class BatchSampler:
    """Which samples make up the batch of a step: a function of seed, step, and the splits' scenes in their order.

    Scenes follow from the list of a split's parts, so the order changes only with that list.

    The choice is global: every process computes the same one and takes its own share. So any number of processes, and a
    run resumed at any step, see the same samples.

    Args:
        stage: batch size, share of dynamic samples, numbers of input views.
        scenes: usable scenes of each split, by index, in a fixed order.
        seed: seed of the run.

    Raises:
        ValueError: a split that the stage draws from has no usable scene.
    """

    def __init__(self, stage: StageConfig, scenes: dict[Kind, np.ndarray], *, seed: int) -> None:
        for kind, share in (("static", 1.0 - stage.dynamic_share), ("dynamic", stage.dynamic_share)):
            if share > 0.0 and not len(scenes.get(kind, ())):  # type: ignore[call-overload]
                raise ValueError(
                    f"the {kind} training split has no usable scene: every clip is too short for views.min_distance "
                    "and the number of views, or has no masks; lower them or check the data report"
                )
        self.stage = stage
        self.scenes = scenes
        self.seed = seed
        self._permutations: dict[tuple[Kind, int], np.ndarray] = {}

    def inputs(self, step: int) -> int:
        """Input views of this step's samples; the configured numbers take turns."""
        return self.stage.views.inputs[step % len(self.stage.views.inputs)]

    def batch(self, step: int) -> list[SampleRef]:
        """The `stage.batch` samples of a step, the dynamic ones spread evenly among the static ones."""
        batch, share = self.stage.batch, self.stage.dynamic_share
        first = step * batch
        refs = []
        # The batches of all steps form one sequence; a position is dynamic where position · share passes an integer.
        for position in range(first, first + batch):
            before, after = int(position * share + 1e-9), int((position + 1) * share + 1e-9)
            kind, number = ("dynamic", before) if after > before else ("static", position - before)
            refs.append(self._ref(kind, number))  # type: ignore[arg-type]
        return refs

    def share(self, step: int, *, rank: int, world: int) -> list[SampleRef]:
        """This process's part of the batch."""
        return self.batch(step)[rank::world]

    def _ref(self, kind: Kind, number: int) -> SampleRef:
        scenes = self.scenes[kind]
        epoch, place = divmod(number, len(scenes))
        key = (kind, epoch)
        if key not in self._permutations:
            for old in [k for k in self._permutations if k[0] == kind and k[1] < epoch - 1]:
                del self._permutations[old]
            generator = np.random.default_rng([self.seed, _STREAMS[kind], epoch])
            self._permutations[key] = generator.permutation(len(scenes))
        return SampleRef(kind=kind, epoch=epoch, scene=int(scenes[self._permutations[key][place]]))


class PseudoLabels:
    """Pixel masks and rendering PSNR of the dynamic split, by global frame index.

    Args:
        folder: pseudo-mask cache with `residuals.json` and `pixel_masks.json`, or the groups of an earlier version.
        residuals: residual maps elsewhere, as those of an ablation; None takes those of `folder`.
        frames: frames of the split's store; a cache of another number is refused.
        preload_mb: masks up to this size are held in memory.

    Raises:
        ValueError: a part of the cache is missing, unfinished, or of another split.
    """

    def __init__(
        self, folder: str | Path, *, frames: int, preload_mb: int = 0, residuals: str | Path | None = None
    ) -> None:
        self._maps = maps = ResidualMaps(residuals or Path(folder) / "residuals.json")
        self._pixels = PixelMasks(
            Path(folder) / "pixel_masks.json", expect={"residuals": maps.digest}, preload_mb=preload_mb
        )
        if not self._pixels.num_frames == maps.num_frames == frames:
            raise ValueError(
                f"{folder} has masks of {self._pixels.num_frames} and residuals of {maps.num_frames} frames, but "
                f"the split has {frames}; run the stages residuals to refine again"
            )
        self.digest = digest_json([self._pixels.digest, maps.digest])
        self.parts = {
            "residuals": [part.entry.key for part in maps.parts],
            "pixel_masks": [part.entry.key for part in self._pixels.parts],
        }
        """Keys of the parts of residual maps and pixel masks."""

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w"]:
        """Pixel masks: 1 = transient, 255 = not computed."""
        return self._pixels.read(frames)

    def psnr(self, frames: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Rendering PSNR in dB of the frozen renderer; NaN = not computed."""
        return self._maps.take("psnr", frames)


class BatchBuilder:
    """Draws the samples of a step and makes micro-batches of them.

    Args:
        stage: the stage's data mix.
        sampler: which samples a step holds.
        static: static clips.
        dynamic: dynamic clips, if the stage draws any.
        labels: pseudo-masks of the dynamic clips.
        paste: `(generator, frames uint8 [v h w 3]) -> (pasted, mask uint8 [v h w])`, if the stage pastes objects.
        grid: tokens along a side of a view, for token masks.
        seed: seed of the run.
    """

    def __init__(
        self,
        *,
        stage: StageConfig,
        sampler: BatchSampler,
        static: ViewDataset,
        dynamic: ViewDataset | None = None,
        labels: PseudoLabels | None = None,
        paste: Paste | None = None,
        grid: int,
        seed: int,
    ) -> None:
        self.stage = stage
        self.sampler = sampler
        self.static = static
        self.dynamic = dynamic
        self.labels = labels
        self.paste = paste
        self.grid = grid
        self.seed = seed

    def build(self, step: int, *, rank: int, world: int) -> list[Batch]:
        """This process's micro-batches of a step."""
        inputs = self.sampler.inputs(step)
        samples = [self._draw(ref, inputs, step) for ref in self.sampler.share(step, rank=rank, world=world)]
        # Masks and crops are drawn for the whole batch, so that they do not depend on how it is divided.
        places = np.arange(self.stage.batch)[rank::world]
        drawn = self._draws(step, inputs, len(samples[0].images))
        size = min(self.stage.micro_batch, len(samples))
        micro_batches = [slice(start, start + size) for start in range(0, len(samples), size)]
        return [
            replace(collate(samples[one], inputs), **{name: draw[places[one]] for name, draw in drawn.items()})
            for one in micro_batches
        ]

    def _draws(self, step: int, inputs: int, views: int) -> dict[str, Tensor]:
        """Token masks and crops of the whole batch; each process and micro-batch takes those of its samples.

        The last number of their seeds is constant, so that runs of earlier versions can be repeated.
        """
        drawn = {}
        if self.stage.token_mask_share:
            drawn["token_mask"] = draw_token_mask(
                [self.seed, _TOKEN_STREAM, step, 0],
                batch=self.stage.batch,
                views=inputs,
                grid=self.grid,
                share=self.stage.token_mask_share,
                clustered=self.stage.token_mask == "clustered",
            )
        if step < self.stage.crop_pretext.steps:
            drawn["crop_views"], drawn["crop_offsets"] = draw_crops(
                np.random.default_rng([self.seed, _CROP_STREAM, step, 0]),
                batch=self.stage.batch,
                views=views,
                config=self.stage.crop_pretext,
            )
        return drawn

    def _draw(self, ref: SampleRef, inputs: int, step: int) -> Sample:
        """The step tells how far a curriculum has come: it arrives with the request, also in loader workers."""
        if ref.kind == "dynamic":
            return self._draw_dynamic(ref, inputs, step)
        drawn = self.static.sample(ref.epoch, ref.scene, inputs, step=step)
        frames: np.ndarray = drawn["images"]
        empty = np.zeros(frames.shape[:3], np.uint8)
        everything = np.ones(len(frames), np.float32)
        generator = np.random.default_rng([self.seed, _PASTE_STREAM, ref.epoch, ref.scene])
        if self.paste is None or generator.random() >= self.stage.paste_share:
            return Sample(frames, frames[inputs:], empty, everything, dynamic=False, cameras=drawn["cameras"])
        pasted, mask = self.paste(generator, frames)
        return Sample(pasted, frames[inputs:], mask, everything, dynamic=False)

    def _draw_dynamic(self, ref: SampleRef, inputs: int, step: int) -> Sample:
        assert self.dynamic is not None
        drawn = self.dynamic.sample(ref.epoch, ref.scene, inputs, step=step)
        frames: np.ndarray = drawn["images"]
        if self.labels is None:
            blank = np.zeros(frames.shape[:3], np.uint8)
            return Sample(frames, frames[inputs:], blank, np.zeros(len(frames), np.float32), dynamic=False)
        mask = drawn["augment"](self.labels.read(drawn["frames"])[..., None])[..., 0]
        # A label needs a mask that was computed, and a rendering good enough to compare the frame with.
        known = (mask != UNKNOWN).all((1, 2))
        fit = self.labels.psnr(drawn["frames"]) > self.stage.psnr_filter
        supervised = (known & fit).astype(np.float32) if self.stage.pseudo_masks else np.zeros(len(frames), np.float32)
        return Sample(frames, frames[inputs:], mask, supervised, dynamic=True)


def open_data(job: TrainingJob) -> tuple[BatchBuilder, list[str], dict[str, list[str]]]:
    """The batches of a job, and digests and parts of the data that they come from; every store is opened once.

    Returns:
        The batches; digests of the whole stores and labels; the keys of their parts by source: `static`, `dynamic`,
        `residuals`, `pixel_masks`.

    Raises:
        ValueError: a store or cache is missing, damaged, of another split, or has no usable scene, or it has no cameras
            although the network or the views need them.
    """
    stage = job.stage
    static_store = FrameStore(job.static_store, preload_mb=job.preload_mb)
    static = ViewDataset(static_store, stage.views, seed=job.seed, cameras=job.model.cameras == "given")
    scenes: dict[Kind, np.ndarray] = {"static": static.usable}
    digests = [static_store.digest]
    parts = {"static": [part.key for part in static_store.parts]}
    dynamic = labels = None
    if job.dynamic_store is not None:
        dynamic_store = FrameStore(job.dynamic_store, preload_mb=job.preload_mb if job.uses_dynamic else 0)
        digests.append(dynamic_store.digest)
        parts["dynamic"] = [part.key for part in dynamic_store.parts]
        if job.masks:
            labels = PseudoLabels(
                job.masks, frames=dynamic_store.num_frames, preload_mb=job.preload_mb, residuals=job.residuals
            )
            digests.append(labels.digest)
            parts |= labels.parts
        if job.uses_dynamic:
            dynamic = ViewDataset(dynamic_store, stage.dynamic_views or stage.views, seed=job.seed + 1)
            scenes["dynamic"] = dynamic.usable
    builder = BatchBuilder(
        stage=stage,
        sampler=BatchSampler(stage, scenes, seed=job.seed),
        static=static,
        dynamic=dynamic,
        labels=labels,
        paste=_paster(job),
        grid=job.model.grid,
        seed=job.seed,
    )
    return builder, digests, parts


def _paster(job: TrainingJob) -> Paste | None:
    if job.stage.paste_share == 0.0:
        return None
    assert job.paste is not None
    assert job.cutout_annotations is not None
    assert job.cutout_images is not None
    library = CutoutLibrary.from_coco(
        job.cutout_annotations, job.cutout_images, config=job.paste, max_size=job.model.image_size
    )
    return partial(paste, library=library, config=job.paste)
