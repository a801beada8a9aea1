"""Batches from loader workers: what happens when none arrives."""

import itertools
import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch.utils.data import _utils

from wildrayzer.training import loader
from wildrayzer.training.batch import Batch
from wildrayzer.training.data import BatchBuilder
from wildrayzer.training.distributed import World
from wildrayzer.training.loader import LoaderError, load_batches

WORLD = World(rank=0, size=1, device=torch.device("cpu"))


class LostBatch(Batch):
    """Fails as one that does not fit into /dev/shm: in the thread that sends it, which drops it."""

    def __reduce__(self):
        raise OSError(28, "No space left on device")


def batch_of(step, kind=Batch):
    picture, label = torch.full((1, 2, 3, 4, 4), float(step)), torch.zeros(1, 2, 1, 4, 4)
    return [
        kind(
            images=picture, truth=picture[:, 1:], motion=label, supervised=torch.zeros(1, 2), gate=label[:, 1:],
            dynamic=torch.zeros(1, dtype=torch.bool),
        )
    ]  # fmt: skip


class Builder(BatchBuilder):
    def __init__(self, build):
        self._build = build

    def build(self, step, *, rank, world):
        return self._build(step)


def batches(build, *, workers=2, stop_requested=lambda: False):
    return load_batches(Builder(build), WORLD, steps=range(3, 9), workers=workers, stop_requested=stop_requested)


def steps_of(loaded):
    return [int(batch.images.mean()) for (batch,) in loaded]


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr(loader, "POLL_SECONDS", 0.5)


def hang(step):
    time.sleep(1000)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_the_order_of_steps(workers):
    assert steps_of(batches(batch_of, workers=workers)) == [3, 4, 5, 6, 7, 8]


def test_a_batch_that_is_lost_in_shared_memory_ends_the_wait(monkeypatch):
    stream = batches(lambda step: batch_of(step, LostBatch if step == 5 else Batch))
    assert steps_of(itertools.islice(stream, 2)) == [3, 4]
    monkeypatch.setattr(loader, "PATIENCE_SECONDS", 1.0)
    with pytest.raises(LoaderError, match=r"no batch for \d+ s; /dev/shm has \d+ of \d+ MB free.*--shm-size=16g"):
        next(stream)
    assert multiprocessing.active_children() == []


def test_a_request_to_stop_is_obeyed_while_no_batch_comes(monkeypatch):
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)  # how long torch waits for each worker to end
    answers = iter([False, True])
    assert list(batches(hang, stop_requested=lambda: next(answers))) == []
    assert multiprocessing.active_children() == []  # though they hang and ignore SIGTERM


def test_a_worker_that_dies_is_an_error_with_the_fix():
    def die(_step):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises((LoaderError, RuntimeError), match="DataLoader worker"):
        next(batches(die, workers=1))


def test_errors_of_the_data_stay_what_they_are():
    def damaged(_step):
        raise ValueError("frames.zarr: damaged")

    with pytest.raises(ValueError, match=r"frames\.zarr: damaged") as error:
        next(batches(damaged))
    assert not isinstance(error.value, LoaderError)
