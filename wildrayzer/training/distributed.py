"""Processes of a training job: one on a CPU, several under torchrun (gloo on CPUs, nccl on GPUs)."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """This process's place among the processes of a job."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Sum of a tensor over the processes."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether any process says yes; all processes get the same answer."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item() > 0)

    def broadcast(self, number: int) -> int:
        """The main process's number, in every process."""
        if self.size == 1:
            return number
        value = torch.tensor(number, dtype=torch.int64, device=self.device)
        dist.broadcast(value, src=0)
        return int(value.item())

    def barrier(self) -> None:
        """Block until every process is here."""
        if self.size > 1:
            dist.barrier()


def pick_device(name: str, *, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device.

    Raises:
        ValueError: `cuda` where there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            "device cuda is asked for, but torch sees none; set compute.device, or --device, to auto or cpu"
        )
    return torch.device("cuda", local_rank)


@contextmanager
def init_distributed(device: str, *, threads: int) -> Iterator[World]:
    """Join the process group that torchrun's environment describes, or run as the only process; leave it at the end."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = pick_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    torch.set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    if size > 1:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
        logger.info("rank %d of %d on node %s, device %s", rank, size, node, chosen)
    try:
        yield World(rank=rank, size=size, device=chosen)
    finally:
        if size > 1:
            dist.destroy_process_group()
