"""Whether two runs ended alike: byte for byte, apart from the few fields that say when or how fast."""

import json
import re
from pathlib import Path
from typing import Any

TIMES = {"seconds", "samples_per_second", "resumed_from", "time", "made_from", "file_checksum", "metrics_digest"}
"""Fields of manifests, metrics and reports that hold times, where a run was taken up, or a folder's absolute path; and
digests of files that hold such fields."""
_CLOCK = re.compile(rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?( UTC)?")


def differences(expected: Path, found: Path, outputs: list[str]) -> list[str]:
    """Files below the outputs, relative to both folders, that are missing, left over or of other content."""
    wrong = []
    for output in outputs:
        names = sorted({*_files(expected, output), *_files(found, output)})
        wrong += [f"{output}: nothing there"] if not names else []
        for name in names:
            pair = (expected / name, found / name)
            if not all(path.is_file() for path in pair) or content(pair[0]) != content(pair[1]):
                wrong.append(name)
    return wrong


def content(path: Path) -> bytes:
    """What of a file is compared."""
    raw = path.read_bytes()
    if path.suffix == ".jsonl":
        return b"\n".join(_plain(json.loads(line)) for line in raw.splitlines())
    if path.suffix == ".json":
        return _plain(json.loads(raw))
    return _CLOCK.sub(b"", raw) if path.suffix == ".html" else raw


def _plain(value: Any) -> bytes:
    return json.dumps(_without_times(value), sort_keys=True).encode()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def with_parts(output: str) -> list[str]:
    """An output and, in case it is a manifest, the folder beside it that holds its parts."""
    path = Path(output)
    return [output, str(path.with_suffix(""))] if path.suffix == ".json" else [output]


def _files(root: Path, output: str) -> list[str]:
    files: list[Path] = []
    for place in (root / name for name in with_parts(output)):
        files += [place] if place.is_file() else place.rglob("*") if place.is_dir() else []
    return [str(f.relative_to(root)) for f in files if f.is_file() and f.name not in (".snakemake_timestamp", ".lock")]
