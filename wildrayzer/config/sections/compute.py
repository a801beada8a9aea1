"""Where jobs run."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from wildrayzer.config.base import Section


class ComputeConfig(Section):
    """Where jobs run. Cluster names (partition, account) stand in slurm/config.yaml only."""

    affects = "rounding"

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a CUDA device where there is one."""
    threads: int = Field(2, ge=1)
    """CPU threads of a job."""
    gpus: int = Field(8, ge=0)
    """GPUs of a training job; 0 trains on the CPU. The paper used 4, the release 8. More than `gpus_per_node` take
    several whole nodes."""
    gpus_per_node: int = Field(8, ge=1)
    """GPUs of a node."""
    gpu_model: str = "h100"
    """GPU model asked of the cluster, by its name in Slurm's GRES; empty takes any."""
    processes: int = Field(1, ge=1)
    """Training processes when `gpus` is 0 (gloo); with GPUs there is one per GPU."""
    processes_per_node: int | None = Field(None, ge=1)
    """Training processes of a node when `gpus` is 0; null keeps all on one node."""
    compile: bool = False
    """Compile the transformer blocks of training jobs with torch.compile; needs a C++ or CUDA compiler."""
    activation_gb: float | None = Field(None, gt=0.0)
    """Memory for activations of a training process, in 10⁹ bytes: as few blocks are recomputed as fit it, in place of
    `model.checkpoint_every`. Null leaves that."""

    @field_validator("gpu_model")
    @classmethod
    def _model_can_be_asked_for(cls, model: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.]*", model):
            raise ValueError(
                f"compute.gpu_model = {model!r}: Snakemake's Slurm executor takes only letters, digits, '_' and '.'; "
                'leave it empty ("") and name the nodes by `constraint` in slurm/config.yaml'
            )
        return model

    @model_validator(mode="after")
    def _whole_nodes(self) -> "ComputeConfig":
        for total, share in (("gpus", "gpus_per_node"), ("processes", "processes_per_node")):
            count, per_node = getattr(self, total), getattr(self, share)
            if per_node is not None and count > per_node and count % per_node:
                raise ValueError(
                    f"compute.{total} = {count} is more than compute.{share} = {per_node} and no multiple of it; a "
                    "training job on several nodes takes whole ones, choose a multiple"
                )
        return self

    @property
    def world_size(self) -> int:
        """Training processes of a job."""
        return self.gpus or self.processes

    @property
    def nodes(self) -> int:
        """Nodes of a training job."""
        per_node = self.gpus_per_node if self.gpus else self.processes_per_node
        return 1 if per_node is None else max(1, self.world_size // per_node)
