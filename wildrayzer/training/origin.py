"""What a training run learns from and how, in the pieces that decide whether it may continue with more data."""

from typing import Any

from pydantic import BaseModel

from wildrayzer.config.effects import deciding_options
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.training.job import STAGE_VERSION, TrainingJob, sections


class Origin(BaseModel):
    """What decides the weights of a run, apart from its parent: a continued run keeps its own weights."""

    options: str
    """Digest of recipe, seed and all options that decide results, except `steps`; also of the cut-outs."""
    steps: int
    """Optimiser steps of the stage in total."""
    parts: dict[str, list[str]]
    """Keys of the parts of its data: `static`, `dynamic`, `residuals`, `pixel_masks`."""

    @classmethod
    def of(cls, job: TrainingJob, parts: dict[str, list[str]]) -> "Origin":
        """The origin of a job.

        Args:
            job: the job.
            parts: keys of the parts of its stores and labels (`open_data`).
        """
        stage, *others = (deciding_options(section) for section in sections(job))
        options = [{name: value for name, value in (stage or {}).items() if name != "steps"}, *others]
        cutouts = digest_file(job.cutout_annotations) if job.cutout_annotations else None
        digest = digest_json([STAGE_VERSION, job.recipe, job.seed, options, cutouts])
        return cls(options=digest, steps=job.stage.steps, parts=parts)

    def growth(self, before: "Origin", *, name: str) -> dict[str, Any]:
        """What this run has more than it had before: `steps`, and `new_parts`, the number of parts by source.

        Args:
            before: the origin of its states.
            name: of the run, for messages.

        Raises:
            ValueError: other options have changed, or parts that the run has learned from are gone.
        """
        fix = f"a run continues only with more steps or parts; leave {name} out of `continue` to train it again"
        if self.options != before.options:
            raise ValueError(f"{name}: options other than `steps` have changed since its states were saved; {fix}")
        if self.steps < before.steps:
            raise ValueError(f"{name}: steps is {self.steps}, it was {before.steps}; {fix}")
        new = {}
        for source in {**before.parts, **self.parts}:
            old, now = before.parts.get(source, []), self.parts.get(source, [])
            lost = len(set(old) - set(now))
            if lost:
                raise ValueError(
                    f"{name}: {lost} of the {len(old)} parts of {source} that it has learned from were removed or made "
                    f"again; {fix}"
                )
            new[source] = len(set(now) - set(old))
        return {"steps": self.steps, "new_parts": new}
