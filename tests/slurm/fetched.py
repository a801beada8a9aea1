"""The job that fetches a source: from a server on loopback that sends in pieces, so that kills meet it half-way."""

import contextlib
import io
import os
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.helpers.dataset_server import FileServer, Handler, _answer
from tests.slurm.jobs import Job, load_jobs
from tests.slurm.reference import Reference
from tests.slurm.run import TINY
from wildrayzer.training.launch import end_with_parent

SPLIT = "static_test"
PLACE = "resources/data/stills"
LINK = "results/tiny/sources/stills/test"
"""The run's link to what was fetched: the output of the job."""
_PIECES, _PAUSE = 20, 0.02


def slowly(handler: Handler, body: bytes) -> None:
    """Send what is asked for in pieces, with pauses."""
    rest = _answer(handler, body)
    length = max(1, len(body) // _PIECES)
    for start in range(0, len(rest), length):
        handler.wfile.write(rest[start : start + length])
        handler.wfile.flush()
        time.sleep(_PAUSE)


@contextlib.contextmanager
def served(content: bytes) -> Iterator[str]:
    """Address of a file; a process of its own serves it, because the jobs are forked from this one."""
    server = FileServer()
    server.files["/stills.zip"], server.standing["/stills.zip"] = content, slowly
    pid = os.fork()
    if not pid:
        end_with_parent()
        try:
            server.serve_forever()
        finally:
            os._exit(0)
    server.socket.close()
    os.environ["NO_PROXY"] = "127.0.0.1"
    try:
        yield f"{server.address}/stills.zip"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def packed(reference: Reference) -> bytes:
    """A split of the tiny run as the archive of a source."""
    job = next(job for job in reference.planned() if job.given.output == [f"results/tiny/raw/{SPLIT}"])
    raw = reference.make(job) / job.given.output[0]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(raw.rglob("*")):
            if path.is_file() and path.name != "embedded.json":
                archive.write(path, Path("stills/test") / path.relative_to(raw))
    return stream.getvalue()


def planned(folder: Path, address: str) -> Job:
    """The job that fetches the archive as a source of the tiny run, to be run in the folder."""
    folder.mkdir(parents=True)
    source = {
        "title": "Stills",
        "home": "https://example.org",
        "folder": PLACE,
        "files": [{"name": "stills.zip", "mirrors": [address], "archive": True}],
        "parts": {"test": {"layout": "pixelsplat", "find": ["*/test"]}},
    }
    (folder / "table.yaml").write_text(yaml.safe_dump({"sources": {"stills": source}}))
    split = {"layout": "pixelsplat", "source": "stills/test"}
    changes = {"data": {"sources": "table.yaml", "splits": {SPLIT: split}}}
    (job,) = load_jobs(folder, configs=[TINY], changes=changes, targets=[LINK])
    return job
