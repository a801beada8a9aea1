"""A disk that is full while a training state is saved: a small file system of its own, which is then made larger.

It is mounted in a mount namespace, so it needs no rights, is seen by nothing else and ends with the run.
"""

import shutil
import subprocess
from pathlib import Path

from tests.slurm.cluster_faults import OUTPUTS, STATE, last_try, training_options
from tests.slurm.compare import differences
from tests.slurm.run import ROOT, TINY, command, environment
from wildrayzer.run.layout import RunLayout
from wildrayzer.training.resume import ResumeFolder

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
STATES = 1.5
"""Room, in states: the first is saved, the second is not."""


def missing() -> str | None:
    """Why there can be no such file system here, or None."""
    if shutil.which(NAMESPACE[0]) is None:
        return "no unshare: apt-get install util-linux"
    words = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    return result.stderr.strip() or "no mount" if result.returncode else None


def disk_full(frames: Path, reference: Path, folder: Path) -> tuple[str, list[str]]:
    """Train on the full disk, then with room again; what was seen, and which files differ from the undisturbed ones."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(frames, folder, symlinks=True)
    disk, size = (folder / STATE).parent, max(file.stat().st_size for file in (reference / STATE).glob("step-*.pt"))
    disk.mkdir(parents=True)
    script = f"""
        mount -t tmpfs -o size={int(STATES * size)} tmpfs {disk} || exit 1
        "$@"; echo $? > {folder}/first
        cp {folder}/{RunLayout("tiny").log("pretrain")} {folder}/first.log
        cp -r {folder}/{STATE} {folder}/left
        mount -o remount,size=1g {disk} || exit 1
        "$@"; echo $? > {folder}/second
    """
    words = command(folder, *training_options(), "--", *OUTPUTS, configs=[TINY])
    with (folder / "snakemake.log").open("wb") as said:
        subprocess.run(
            [*NAMESPACE, "sh", "-c", script, "sh", *words],
            cwd=ROOT, env=environment(), stdout=said, stderr=said, check=True,
        )  # fmt: skip
    first, second = (int((folder / name).read_text()) for name in ("first", "second"))
    seen, wrong = _after_first(folder)
    if not first or second:
        return f"first run {first}, {seen}; second run {second}", [*wrong, "(not as it should have ended)"]
    seen = f"first run {first}, {seen}; second run {second}, {last_try(folder)}"
    return seen, wrong + differences(reference, folder, OUTPUTS)


def _after_first(folder: Path) -> tuple[str, list[str]]:
    """What the failed run has said and left."""
    said = [line for line in (folder / "first.log").read_text().splitlines() if "No space left on device" in line]
    named = any(STATE in line for line in said)
    left = folder / "left"
    states, partial = list(left.glob("step-*.pt")), list(left.glob(".*"))
    whole = len(states) == 1 and ResumeFolder(left, identity="").load() is not None and not partial
    seen = f"{'names the file and the full disk' if named else 'does not name the file'}, "
    seen += f"{'one whole state' if whole else f'{len(states)} states'} and {len(partial)} half-written files left"
    return seen, ([] if named else ["(not named)"]) + ([] if whole else ["(half-written files)"])
