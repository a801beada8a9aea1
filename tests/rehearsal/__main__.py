"""Rehearse the full-size runs: every job at its true sizes, a step per stage, on stand-in data, on the CPU.

    make rehearsal                                     # config/paper.yaml, then one step of the other systems
    python -m tests.rehearsal --only lvsm_re10k        # one of them

Jobs go through a Slurm cluster of two nodes on this machine if Slurm is installed, otherwise they run directly. An
interrupted rehearsal resumes with the same command. At the end it prints a table of the jobs, which it also writes to
jobs.md in its folder.
"""

import argparse
import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import yaml

from tests.rehearsal import memory, standins
from tests.rehearsal.derive import CONFIGURATIONS, ROOT, derived
from tests.rehearsal.report import MEMORY_FILE, job_table
from tests.slurm.loopback import LoopbackCluster, loopback_cluster, missing
from tests.slurm.run import command, environment

NEEDED_GB, DISK_GB = 16, 30
"""Free memory and disk, in 10⁹ bytes, that the largest configuration takes."""


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, without a line per request."""

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of a server of the folder's files on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def check_machine(folder: Path) -> None:
    """Raise ValueError unless memory and disk suffice."""
    memory, disk = psutil.virtual_memory().available / 1e9, shutil.disk_usage(folder).free / 1e9
    if memory < NEEDED_GB or disk < DISK_GB:
        raise ValueError(
            f"a rehearsal needs {NEEDED_GB} GB of free memory and {DISK_GB} GB in {folder}; there are {memory:.0f} and "
            f"{disk:.0f} GB. End other programs, or choose another folder with --folder"
        )


def rehearse(name: str, folder: Path, cluster: LoopbackCluster | None) -> int:
    """Run one configuration to its tables; returns Snakemake's exit status."""
    configuration = folder / f"{name}.yaml"
    options = derived(name)
    if cluster is None:
        options["compute"]["processes_per_node"] = None  # both processes on this machine
    configuration.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    # The executor asks for the state of jobs at growing intervals; what waits in Slurm's queue starts meanwhile.
    at_once = ["--jobs", "8", "--retries", "0"] if cluster else []
    words = command(folder, *at_once, cluster=cluster, configs=[str(configuration)])
    return subprocess.run(words, cwd=ROOT, env=environment(cluster), check=False).returncode


def say(text: str) -> None:
    """A line on the terminal, before the output of the processes that follow."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "results" / "rehearsal", help="where everything is written"
    )
    parser.add_argument("--only", choices=CONFIGURATIONS, action="append", help="these configurations")
    parser.add_argument("--without-slurm", action="store_true", help="run jobs directly even if Slurm is installed")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        check_machine(folder)
    except ValueError as error:
        sys.exit(f"error: {error}")
    started = time.monotonic()
    standins.make(folder / "standins")
    say(f"stand-in data and weights: {time.monotonic() - started:.0f} s")
    direct = options.without_slurm or missing() is not None
    failed = []
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(served(folder / "standins"))
        stack.enter_context(memory.sampled(folder / MEMORY_FILE))
        (folder / "sources.yaml").write_text(standins.table(address), encoding="utf-8")
        cluster = None
        if not direct:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm"))
            cluster = stack.enter_context(loopback_cluster(Path(place), cpus=1))
        for name in options.only or CONFIGURATIONS:
            begun = time.monotonic()
            if rehearse(name, folder, cluster):
                failed.append(name)
            say(f"{name}: {(time.monotonic() - begun) / 60:.1f} minutes")
    text = "\n\n".join(job_table(folder, name) for name in options.only or CONFIGURATIONS)
    (folder / "jobs.md").write_text(text + "\n", encoding="utf-8")
    say(f"\n{text}\n\n{(time.monotonic() - started) / 60:.0f} minutes; the table is in {folder / 'jobs.md'}")
    if failed:
        sys.exit(f"error: {', '.join(failed)} did not end; the logs are in {folder / 'results'}")


if __name__ == "__main__":
    main()
