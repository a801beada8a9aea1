"""Write recordings as a new split in the LVSM-style layout, without cameras.

The frames of a recording lie in `images/RECORDING/00000.png`, lossless; its clips are stretches of them (see `clips`).
`ingest.json` is the report. See `change` for adding to a set.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from wildrayzer.data.ingest.clips import IngestOptions, line_of, write_clips, write_list
from wildrayzer.data.ingest.frames import take_in
from wildrayzer.data.ingest.report import IngestReport, ingested, make_report
from wildrayzer.data.ingest.sheet import write_sheet
from wildrayzer.data.ingest.sources import find_sources
from wildrayzer.io.disk_space import writing
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.io.locks import LockHeldError, locked

LOCK = ".lock"
"""File in the folder of a set that its writer holds."""


def ingest(
    paths: Sequence[Path], out: Path, options: IngestOptions, *, files: Mapping[str, str] | None = None
) -> IngestReport:
    """Make a set of videos and image folders, and put text `files` (by name) beside them; returns the report.

    The set appears under its name when it is complete; until then it lies beside it as `.NAME.unfinished`, and the
    same call resumes with the recordings that are missing there. A recording that cannot be used is skipped with its
    reason.

    Raises:
        ValueError: see `find_sources`; `out` exists, is being written by another process, its disk is full, or nothing
            can be used.
    """
    if out.exists():
        raise ValueError(
            f"--out {out} exists; name another folder, add to an ingested data set with --add, or delete the folder to "
            "ingest again"
        )
    found = find_sources(paths)
    temporary = out.with_name(f".{out.name}.unfinished")
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        with (
            writing(out.parent, purpose="ingesting recordings"),
            locked(temporary / LOCK),
            Progress(console=Console(stderr=True)) as progress,
        ):
            records = [take_in(source, temporary, options, progress) for source in found.sources]
            used = [record for record in records if "reason" not in record]
            if not used:
                shutil.rmtree(temporary)
                reasons = "\n".join(f"  {record['detail']}" for record in records)
                raise ValueError(f"none of the {len(records)} recordings can be used:\n{reasons}")
            shutil.rmtree(temporary / "metadata", ignore_errors=True)
            for record in used:
                write_clips(temporary, record, options)
            sources = [ingested(record, options) for record in used]
            write_list(temporary, [line_of(clip) for source in sources for clip in source.clips])
            _drop_unused(temporary, [record["name"] for record in used])
            write_sheet(temporary)
            for name, text in (files or {}).items():
                write_bytes_atomic(temporary / name, text.encode())
            report = make_report(records, sources, found, options)
            report.save(temporary)
            temporary.replace(out)
    except LockHeldError:
        raise ValueError(f"--out {out} is being written by another process; wait for it") from None
    shutil.rmtree(out / "sources")
    (out / LOCK).unlink()
    return report


def _drop_unused(root: Path, used: Sequence[str]) -> None:
    """Remove frames of sources that were skipped, or named by an earlier call alone, and first their records.

    A record without its frames would have the next call take them for made.
    """
    for folder in (root / "images").iterdir():
        if folder.name not in used:
            (root / "sources" / f"{folder.name}.json").unlink(missing_ok=True)
            shutil.rmtree(folder)
