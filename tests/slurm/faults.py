"""The fault table: what is killed, filled up or damaged, how often, and how it ended.

    .venv/bin/python -m tests.slurm.faults --out docs/faults.md

All of it takes more than an hour on two cores. What has been seen is kept in the working folder, so that a call that
was ended goes on where it was, and a part can be made again with --again.
"""

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.slurm import cluster_faults, damage, fetched, full_disk, jobs, kills, loopback
from tests.slurm.reference import Reference, rules

Row = dict[str, str]
"""Columns `fault`, `times` and `result`; `ok` is "yes", "no" or "not reached"."""
HEAD = """\
# Faults

How the workflow behaves when jobs, nodes, Snakemake or files fail. `python -m tests.slurm.faults --out docs/faults.md`
made this page, on the tiny configuration of the tests and the loopback cluster of `tests/slurm/`.

"Same" means that the declared files of the stage are byte-identical to those of an undisturbed run. Not compared are
times (`seconds`, `samples_per_second`, `time`; the date in the report), the step at which a run resumed
(`resumed_from`), the absolute path of the raw files (`made_from`), logs, and Snakemake's benchmark files.

- *SIGKILL in RULE*: a job of the rule runs in a separate process with the modules loaded. It is killed at moments drawn
  evenly from the duration of an undisturbed try, run again and compared. In every other try, a second kill hits the
  rerun. `fetch_stills` fetches a split from a server on the same machine.
- *SIGKILL under Snakemake*: the same through Snakemake's local executor. The last two kills also kill Snakemake.
- *damaged*: a random file of the artefact, including metadata, is truncated at a random position, or one random bit of
  it is flipped. *named*: the reader refuses it by its path; for a resume state, the reader names it and uses the
  previous one. *harmless*: everything that is read is unchanged. *silent*: something else is read.
- The other faults hit a training job on the loopback cluster. Its weights and metrics are compared with those of the
  same training without a cluster.
"""
TAIL = """\
## Not covered

- A real power cut, in which `rename` has taken effect but the data are not on the disk. Weights, states, manifests,
  scores and shards of frame stores are flushed before the rename. Caches are left to the file system.
- Network file systems, on which two clients see different versions of one file. The only safeguard is `latency-wait`
  in the profile. If locks hold for one host only, calls of Snakemake from two login nodes cannot be distinguished.
- GPUs that hang or fail during a job, and NCCL time-outs: the test machine has no GPU.
- Damage after which a table or a raw file can still be read. These files have no checksum. Tables are made again from
  the scores, which have one. The report compares the metrics of finished stages with the digest in the checkpoint's
  manifest; checkpoints of earlier versions have no digest of them.

## Flipped bits and mutated inputs

`python -m tests.fuzz --mutations N` mutates small inputs of every kind that comes from outside, and JSON files of ours.
`python -m tests.fuzz.artefacts RUN` flips single bits all over a copy of a finished run. Both fail on a traceback, a
hang, an error that does not name the file, and a silent difference. A difference cannot be noticed in these kinds:

- pictures and videos, except where the format has checksums (PNG, and parts of Matroska): a flip is another colour;
- NPY, safetensors, and PyTorch's format before version 1.6: they have no checksum;
- text that people write: indices, lists, COCO annotations, the table of sources, and scores without their manifest;
- names of the members of an archive.
"""


def main() -> int:
    """Make the rows asked for and write the table."""
    options = _options()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    options.reference = Reference(options.work / "reference")
    book = options.work / "rows.json"
    rows: dict[str, Row] = json.loads(book.read_text()) if book.exists() else {}
    parts = dict(_parts(options))
    for text in options.only or ():
        if not any(key.startswith(text) for key in parts):
            raise SystemExit(f"--only {text!r}: no row begins so; rows are {', '.join(parts)}")
    for number, (key, make) in enumerate(parts.items(), 1):
        if (options.only and not key.startswith(tuple(options.only))) or (key in rows and not options.again):
            continue
        begun = time.monotonic()
        rows[key] = row = make()
        seconds = time.monotonic() - begun
        sys.stderr.write(f"{number}/{len(parts)} {key}: {row['times']}, {row['result']} ({seconds:.0f} s)\n")
        book.write_text(json.dumps(rows, indent=2, ensure_ascii=False))
    text = table([rows[key] for key in parts if key in rows], [key for key in parts if key not in rows])
    (Path(options.out).write_text if options.out else sys.stdout.write)(text)
    return any(row["ok"] == "no" for row in rows.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "wildrayzer-faults")
    parser.add_argument("--out", help="file of the table; without it, the terminal")
    parser.add_argument("--kills", type=int, default=10, help="kills of each rule's job")
    parser.add_argument("--damages", type=int, default=40, help="damages of each kind for each artefact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="rows whose name starts with one of these texts")
    parser.add_argument("--again", action="store_true", help="make rows anew that are known")
    return parser.parse_args()


_MAKES_PARTS = ("prepare_split", "vote_masks", "refine_masks")
"""Rules whose output is the manifest of the parts that they make."""


def _parts(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Row]]]:
    yield "job fetch_stills", lambda: _fetch(options)
    for rule in rules():
        yield f"job {rule}", lambda rule=rule: _job(rule, options)
    for stage in kills.STAGES:
        yield f"snakemake {stage.name}", lambda stage=stage: _kill(stage, options)
    for artefact in damage.ARTEFACTS:
        yield f"damage {artefact.name}", lambda artefact=artefact: _damage(artefact, options)
    yield "disk full while saving", lambda: _disk_full(options)
    for name in cluster_faults.CASES:
        yield f"cluster: {name}", lambda name=name: _cluster(name, options)


def _fetch(options: argparse.Namespace) -> Row:
    folder = options.work / "fetched"
    jobs.remove(folder)
    with fetched.served(fetched.packed(options.reference)) as address:
        job = fetched.planned(folder, address)
        with contextlib.chdir(folder):
            job.run()
        return _killed(job, folder, options, leavings=[fetched.PLACE])


def _job(rule: str, options: argparse.Namespace) -> Row:
    job = options.reference.job(rule)
    state = job.given.params.get("state")
    manifest = job.given.params.get("manifest") or (job.given.output[0] if rule in _MAKES_PARTS else None)
    parts = [str(Path(manifest).with_suffix(""))] if manifest else []
    return _killed(job, options.reference.folder, options, leavings=[state] if state else [], parts=parts)


def _killed(
    job: jobs.Job, reference: Path, options: argparse.Namespace, *, leavings: list[str], parts: Sequence[str] = ()
) -> Row:
    here = options.work / "killed"
    jobs.remove(here)
    shutil.copytree(reference, here, symlinks=True)
    chosen = random.Random(f"{options.seed}-{job.rule}")
    with contextlib.chdir(here):
        seen = jobs.disturb(job, reference, kills=options.kills, states=leavings, parts=parts, chosen=chosen)
    result = f"differs: {', '.join(seen.wrong[:3])}" if seen.wrong else "same"
    return {"fault": f"SIGKILL in {job.rule}", "times": str(seen.killed), "result": result, "ok": _word(not seen.wrong)}


def _kill(stage: kills.Stage, options: argparse.Namespace) -> Row:
    reference: Reference = options.reference
    reference.job(stage.rule)
    run = kills.KilledRun(reference.folder, options.work / "killed", stage, seed=options.seed)
    seen = run.disturb(options.kills)
    times = f"{seen.killed - seen.whole} jobs, {seen.whole} with Snakemake"
    result = f"differs: {', '.join(seen.wrong)}" if seen.wrong else "same"
    return {
        "fault": f"SIGKILL under Snakemake, {stage.name}",
        "times": times,
        "result": result,
        "ok": _word(not seen.wrong),
    }


def _damage(artefact: damage.Artefact, options: argparse.Namespace) -> Row:
    made = options.reference.job(artefact.rule, artefact.run)
    place = options.reference.folder / (artefact.path or made.given.output[0])
    counts = damage.damage(place, options.work, artefact, times=options.damages, seed=options.seed)
    words = [f"{kind}: {', '.join(f'{n} {what}' for what, n in sorted(c.items()))}" for kind, c in counts.items()]
    fine = all(set(count) <= {"named", "harmless"} for count in counts.values())
    times = f"{options.damages} cut, {options.damages} flipped"
    return {"fault": f"{artefact.name} damaged", "times": times, "result": "; ".join(words), "ok": _word(fine)}


def _prepared(options: argparse.Namespace) -> tuple[Path, Path]:
    frames, reference = options.work / "frames", options.work / "trained"
    cluster_faults.prepare(frames, reference)
    return frames, reference


def _disk_full(options: argparse.Namespace) -> Row:
    fault = "disk full while a state is saved"
    if reason := full_disk.missing():
        return {"fault": fault, "times": "0", "result": f"no small file system here ({reason})", "ok": "not reached"}
    seen, wrong = full_disk.disk_full(*_prepared(options), options.work / "full")
    return {"fault": fault, "times": "1", "result": _result(seen, wrong), "ok": _word(not wrong)}


def _cluster(name: str, options: argparse.Namespace) -> Row:
    if reason := loopback.missing():
        return {"fault": name, "times": "0", "result": f"no Slurm here ({reason})", "ok": "not reached"}
    frames, reference = _prepared(options)
    with tempfile.TemporaryDirectory(prefix="slurm") as place, loopback.loopback_cluster(Path(place)) as cluster:
        seen, wrong = cluster_faults.play(
            name, cluster=cluster, frames=frames, reference=reference, folder=options.work / "cluster"
        )
    return {"fault": name, "times": "1", "result": _result(seen, wrong), "ok": _word(not wrong)}


def _result(seen: str, wrong: list[str]) -> str:
    return f"{seen}; differs: {', '.join(wrong[:3])}" if wrong else f"{seen}; same"


def _word(fine: bool) -> str:
    return "yes" if fine else "no"


def table(rows: list[Row], not_made: list[str]) -> str:
    """The document."""
    holding = sum(row["ok"] == "yes" for row in rows)
    lines = [HEAD, f"{holding} of {len(rows)} rows hold.", ""]
    lines += ["| fault | times | seen | holds |", "| --- | --- | --- | --- |"]
    lines += [f"| {row['fault']} | {row['times']} | {row['result']} | {row['ok']} |" for row in rows]
    lines += ["", f"Rows not made yet: {', '.join(not_made)}."] if not_made else []
    return "\n".join([*lines, "", TAIL])


if __name__ == "__main__":
    sys.exit(main())
