"""Receipts: which parts each of several jobs has made, so that another job can list them without searching."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from wildrayzer.io.files import write_json
from wildrayzer.io.validated import read_validated


class _Receipt(BaseModel):
    parts: int
    keys: dict[int, str]


def share_of_parts(parts: int, job: int, jobs: int) -> range:
    """Numbers of the parts that a job makes: every `jobs`-th one.

    Raises:
        ValueError: there is no such job.
    """
    if not 0 <= job < jobs:
        raise ValueError(f"there is no job {job} of {jobs}; jobs are counted from 0")
    return range(job, parts, jobs)


def write_receipt(path: str | Path, keys: Mapping[int, str], *, parts: int) -> None:
    """Write the keys of a job's parts, by their numbers in the split, and the number of all parts of the split."""
    write_json(path, _Receipt(parts=parts, keys=dict(keys)).model_dump(), checksum=True)


def read_receipts(paths: Sequence[str | Path], *, parts: int, stage: str) -> list[str]:
    """The keys of all parts of a split, in their order.

    Args:
        paths: receipts of all jobs.
        parts: number of parts of the split.
        stage: stage that made them, for messages.

    Raises:
        ValueError: a part is in no receipt or in two, or a receipt is damaged or of another split.
    """
    owners: dict[int, Path] = {}
    keys: dict[int, str] = {}
    for path in map(Path, paths):
        receipt = read_validated(path, _Receipt, fix=f"delete it and run the stage {stage} again")
        if receipt.parts != parts:
            raise ValueError(
                f"{path} is a receipt for a split of {receipt.parts} parts, this one has {parts}; run the stage "
                f"{stage} again"
            )
        for number, key in receipt.keys.items():
            if number in owners:
                raise ValueError(
                    f"part {number} is in two receipts, {owners[number].name} and {path.name}; run the stage {stage} "
                    "again"
                )
            owners[number], keys[number] = path, key
    missing = sorted(set(range(parts)) - keys.keys())
    if missing:
        raise ValueError(f"part {missing[0]} of {parts} is in no receipt; run the stage {stage} for it")
    return [keys[number] for number in range(parts)]
