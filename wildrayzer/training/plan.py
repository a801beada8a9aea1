"""Which samples make up the batch of a step: a function of (seed, step) alone.

The plan is global: every process computes the same one and takes its own share, so that any number of processes, and a
run resumed at any step, meet the same samples.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wildrayzer.config import StageConfig

Kind = Literal["static", "dynamic"]
_STREAMS: dict[Kind, int] = {"static": 1, "dynamic": 2}


@dataclass(frozen=True)
class Item:
    """One sample to draw: a pass over the split (`epoch`) and a scene of it."""

    kind: Kind
    epoch: int
    scene: int


class BatchPlan:
    """Batches of a stage, by step.

    Args:
        stage: batch size, share of dynamic samples, numbers of input views.
        scenes: usable scene numbers of each split, in a fixed order.
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

    def items(self, step: int) -> list[Item]:
        """The `stage.batch` samples of a step, the dynamic ones spread evenly among the static ones."""
        batch, share = self.stage.batch, self.stage.dynamic_share
        first = step * batch
        items = []
        for position in range(first, first + batch):
            before, after = int(position * share + 1e-9), int((position + 1) * share + 1e-9)
            kind, number = ("dynamic", before) if after > before else ("static", position - before)
            items.append(self._item(kind, number))  # type: ignore[arg-type]
        return items

    def share(self, step: int, *, rank: int, world: int) -> list[Item]:
        """This process's part of the batch."""
        return self.items(step)[rank::world]

    def _item(self, kind: Kind, number: int) -> Item:
        scenes = self.scenes[kind]
        epoch, place = divmod(number, len(scenes))
        key = (kind, epoch)
        if key not in self._permutations:
            for old in [k for k in self._permutations if k[0] == kind and k[1] < epoch - 1]:
                del self._permutations[old]
            generator = np.random.default_rng([self.seed, _STREAMS[kind], epoch])
            self._permutations[key] = generator.permutation(len(scenes))
        return Item(kind=kind, epoch=epoch, scene=int(scenes[self._permutations[key][place]]))
