"""Before any compute: whether every path, token, checksum and count that a run will need is there."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wildrayzer.config import RunConfig
from wildrayzer.data.copy_paste.cutouts import CutoutLibrary
from wildrayzer.data.sampling.index_file import by_scene
from wildrayzer.datasets.download import verify_file
from wildrayzer.datasets.hub import check_access, has_token
from wildrayzer.datasets.on_disk import (
    broken_link,
    look_through,
    manifest_of,
    missing_chunks,
    problem_of,
    scene_names,
)
from wildrayzer.datasets.required import Need, needs, to_fetch
from wildrayzer.datasets.table import Part, Source, SourceTable
from wildrayzer.io.files import read_json

State = Literal["ok", "to fetch", "miss"]


@dataclass(frozen=True)
class Finding:
    """One line of the check."""

    option: str
    """The option that needs it."""
    what: str
    """Path, repository or resource."""
    state: State
    """`ok`: there. `to fetch`: a job of the workflow will fetch it. `miss`: the run would fail, or be another run."""
    found: str
    """What was found."""
    fix: str = ""
    """What to do."""


def check_run(
    config: RunConfig, table: SourceTable, *, root: str | Path = ".", frames: bool = False, online: bool = False
) -> list[Finding]:
    """Check everything a run reads from outside.

    Args:
        config: the run.
        table: sources.
        root: working directory of the run.
        frames: look at every scene too: whether its files, images and cameras are there, and how many frames it has.
        online: ask the hub whether what is to be fetched can be read with the token that is there.
    """
    root = Path(root)
    found: list[Finding] = []
    for need in needs(config):
        found += _check_need(need, config, table, root, frames)
    found += _check_hub_id(config, table)
    missing = to_fetch(config, table, root)
    if online:
        found += [finding for name in missing for finding in _check_access(name, table.source(name))]
    return [*found, *_check_space([table.source(name) for name in missing], root)]


def _check_need(need: Need, config: RunConfig, table: SourceTable, root: Path, frames: bool) -> Iterator[Finding]:
    path, at = root / need.path, table.at(need.path)
    if not path.exists():
        yield _absent(need, table, broken_link(path))
        return
    problem = problem_of(path, need.layout)
    if problem:
        yield Finding(need.option, need.path, "miss", problem, f"mend it, or set {need.option} to the right path")
        return
    source, part = (table.source(at[0]), table.source(at[0]).parts[at[1]]) if at else (None, None)
    facts: list[str] = []
    wrong = _wrong_counts(need, path, part, facts)
    if frames and not wrong:
        wrong = _wrong_scenes(need, path, part, facts)
    if need.option == "data.coco.annotations" and not wrong:
        wrong = _wrong_objects(config, root, facts)
    if source and at and not wrong:
        wrong = _wrong_origin(source, at, path, facts)
    if need.index and not wrong:
        wrong = _wrong_index(need, config, root, facts)
    if wrong:
        yield Finding(need.option, need.path, "miss", *wrong)
    else:
        yield Finding(need.option, need.path, "ok", ", ".join(facts) or "there")


def _absent(need: Need, table: SourceTable, broken: Path | None) -> Finding:
    if broken is not None:
        found = f"{broken} is a link to nowhere"
        return Finding(need.option, need.path, "miss", found, "mount the disk it leads to, or mend or remove the link")
    at = table.at(need.path)
    if at is None:
        return Finding(need.option, need.path, "miss", "does not exist", f"set {need.option} to where you have it")
    name, source = at[0], table.source(at[0])
    if source.provide is not None:
        fix = f"{source.provide}. Put it there, or set {need.option} to where you have it; {source.home}"
        return Finding(need.option, need.path, "miss", f"source {name} cannot be downloaded", fix)
    if source.gated and not has_token():
        return Finding(need.option, need.path, "miss", "no token (HF_TOKEN)", f"{source.accept}; then set HF_TOKEN")
    size = source.download_bytes
    amount = "size not published" if size is None else f"{size / 1e9:.1f} GB"
    amount += " in all" if len(source.parts) > 1 else ""
    accepted = f"; accepted already? {source.accept}" if source.accept else ""
    whole = ", which downloads the source whole" if len(source.parts) > 1 else ""
    fix = f"the job fetch_{name}{whole}{accepted}"
    return Finding(need.option, need.path, "to fetch", f"source {name}, {amount}", fix)


def _wrong_counts(need: Need, path: Path, part: Part | None, facts: list[str]) -> tuple[str, str] | None:
    """A listing that is broken, names absent chunks, or is of another length than published.

    What is right goes to `facts`.
    """
    try:
        names = scene_names(path, need.layout, need.scene_list)
        absent = missing_chunks(path) if names is not None and need.layout == "pixelsplat" else []
    except ValueError as error:
        return "listing cannot be read", str(error)
    if absent:
        return f"{len(absent)} chunks are missing: {', '.join(absent[:3])}", "fetch them, or write index.json again"
    if names is None:
        return None
    expected = need.scenes or (part.scenes if part else None)
    facts.append(f"{len(names)} scenes" + ("" if expected is None else f" of {expected}"))
    if expected is not None and len(names) != expected:
        return facts[-1], "fetch the rest, or set expected_scenes of the split to what you mean to use"
    return None


def _wrong_scenes(need: Need, path: Path, part: Part | None, facts: list[str]) -> tuple[str, str] | None:
    """Scenes that cannot be used, or frames of another number than published; what is right goes to `facts`."""
    if need.layout not in ("pixelsplat", "lvsm", "davis"):
        return None
    try:
        content = look_through(path, need.layout, need.scene_list)
    except ValueError as error:
        return "scenes cannot be read", str(error)
    if content.unusable:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(content.reasons.items()))
        some = "; ".join(content.unusable[:3])
        return f"{len(content.unusable)} scenes cannot be used ({reasons})", f"mend or fetch them again: {some}"
    published = part.frames if part else None
    facts.append(f"{content.frames} frames" + ("" if published is None else f" of {published}"))
    if published is not None and content.frames != published:
        return facts[-1], "scenes are cut short: fetch them again"
    facts += content.notes
    return None


def _wrong_objects(config: RunConfig, root: Path, facts: list[str]) -> tuple[str, str] | None:
    """An annotation file of which no object can be cut out."""
    coco = config.data.coco
    assert coco.annotations is not None and coco.images is not None, "named by `needs`"  # noqa: PT018
    if problem_of(root / coco.images, "folder"):
        return None  # a miss of its own
    try:
        library = CutoutLibrary.from_coco(
            root / coco.annotations, root / coco.images, config.paste, config.model.image_size
        )
    except ValueError as error:
        return "no object can be cut out", str(error)
    skipped = ", ".join(f"{reason}: {count}" for reason, count in sorted(library.skipped.items()))
    facts.append(f"{len(library)} objects" + (f", skipped {skipped}" if skipped else ""))
    return None


def _wrong_origin(source: Source, at: tuple[str, str], path: Path, facts: list[str]) -> tuple[str, str] | None:
    """Another source or version than the table's, or a file with another checksum; `at` names source and part."""
    name, part = at
    again = f"move {path} away to fetch it again"
    if path.is_dir():
        manifest = manifest_of(path)
        pinned = source.hub.revision if source.hub else source.version
        if manifest and manifest["source"] != name:
            return f"fetched as source {manifest['source']}, the table has {name} here", again
        if manifest and pinned and manifest["version"] != pinned:
            return f"version {manifest['version']}, the table names {pinned}", again
        facts.append(f"version {manifest['version'] or 'not stated'}" if manifest else "provided by you")
        return None
    file = next((file for file in source.files if file.name == part), None)
    if file is None or (file.size is None and file.md5 is None and file.sha256 is None):
        facts.append("no checksum is published")
        return None
    wrong = verify_file(path, file)
    facts.append("checksum as published" if file.md5 or file.sha256 else "size as published")
    return (wrong, again) if wrong else None


def _wrong_index(need: Need, config: RunConfig, root: Path, facts: list[str]) -> tuple[str, str] | None:
    """A frozen index that is no index, or that names scenes its split lacks."""
    fix = f"set {need.option} to the index of this split"
    try:
        index = read_json(root / need.path, fix="write it again")
    except ValueError as error:
        return "no JSON", str(error)
    windows = index.values() if isinstance(index, dict) else [0]
    if not all(
        window is None or (isinstance(window, dict) and {"context", "target"} <= set(window)) for window in windows
    ):
        return 'is no {scene: {"context": [...], "target": [...]} or null}', fix
    facts.append(f"{sum(window is not None for window in windows)} of {len(index)} scenes have a window")
    split = config.data.splits[str(need.split)]
    if split.path is None or problem_of(root / split.path, split.layout):  # type: ignore[arg-type]
        facts.append("names are checked once the split is here")
        return None
    names = scene_names(root / split.path, split.layout, split.scene_list)  # type: ignore[arg-type]
    try:
        unknown = sorted(set(by_scene(index, need.path)) - set(names)) if names is not None else []
    except ValueError as error:
        return "names a scene twice", str(error)
    if not unknown:
        return None
    lacking = f"names {len(unknown)} scenes that the split lacks: {', '.join(unknown[:3])}"
    if config.benchmark.intersect_index:
        facts.append(f"{lacking}; they are left out")
        return None
    return lacking, f"{fix}, or set benchmark.intersect_index: true to score the others"


def _check_hub_id(config: RunConfig, table: SourceTable) -> Iterator[Finding]:
    """A backbone named by its id is loaded by the jobs themselves."""
    weights = config.features.repository
    if weights is None:
        return
    known = next((s for s in table.sources.values() if s.hub and s.hub.repository == weights), None)
    fix = "jobs that use it need network; or set features.weights to its place in the table of sources"
    if known and known.gated and not has_token():
        yield Finding("features.weights", weights, "miss", "no token (HF_TOKEN)", f"{known.accept}; then set HF_TOKEN")
    else:
        yield Finding("features.weights", weights, "to fetch", "a repository of the hub", fix)


def _check_access(name: str, source: Source) -> Iterator[Finding]:
    if source.hub is None or (source.gated and not has_token()):
        return  # nothing to ask, or missed already
    refusal = check_access(source)
    state: State = "miss" if refusal else "ok"
    yield Finding(
        f"source {name}", source.hub.repository, state, "refused" if refusal else "can be read", refusal or ""
    )


def _check_space(sources: list[Source], root: Path) -> Iterator[Finding]:
    """What downloads need at least, disk by disk."""
    wanted: dict[int, list[Source]] = {}
    for source in sources:
        if source.provide is None:
            wanted.setdefault(_existing(root / source.folder).stat().st_dev, []).append(source)
    for group in wanted.values():
        folder = _existing(root / group[0].folder)
        needed, free = sum(source.download_bytes or 0 for source in group), shutil.disk_usage(folder).free
        found = f"{free / 1e9:.0f} GB free, at least {needed / 1e9:.0f} GB to download"
        unknown = sum(source.download_bytes is None for source in group)
        if unknown:
            found += f" and {unknown} of unknown size"
        fix = f"free space, or make {group[0].folder} a link to a larger disk"
        yield Finding("disk", str(folder), "miss" if needed > free else "ok", found, fix)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
