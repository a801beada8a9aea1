"""All of `masks run`: from videos to masks, overlays and a page; a call that was interrupted resumes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wildrayzer.checkpoint import read_manifest
from wildrayzer.data.ingest.clips import OptionValue
from wildrayzer.data.ingest.report import IngestReport
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.io.locks import LockHeldError, locked
from wildrayzer.report.run_files import NO_WINDOWS, MaskFiles
from wildrayzer.tools.video_masks.export import export
from wildrayzer.tools.video_masks.page import MaskNumbers, advice, masks_page
from wildrayzer.tools.video_masks.workflow import make_masks
from wildrayzer.tools.video_masks.workspace import SPLIT, Workspace


@dataclass(frozen=True)
class VideoMasks:
    """What was made."""

    report: IngestReport
    """The ingested set."""
    masks: int
    """Number of exported masks."""
    videos: list[Path]
    """Videos with what moves marked."""
    coverage: float
    """Mean share of the square that is marked."""
    advice: list[str]
    """What would make the masks better."""
    refused: dict[str, str]
    """What was named and not taken, with the reasons."""


def video_masks(
    videos: Sequence[Path],
    workspace: Workspace,
    *,
    base: Path | None,
    checkpoint: Path | None,
    options: Mapping[str, OptionValue],
    cores: int,
) -> VideoMasks:
    """Motion masks of videos, by the stages of the workflow.

    Args:
        videos: files or folders; long ones are cut into clips. New ones are added to those of an earlier call.
        workspace: where everything is written.
        base: configuration of all options; None keeps an earlier call's, else takes `config/showcase.yaml`.
        checkpoint: static renderer; None keeps an earlier call's, else takes the bundled one.
        options: how videos are cut, fields of `IngestOptions`; None keeps an earlier call's, else takes the default.
        cores: for the workflow.

    Raises:
        ValueError: the folder is not this command's or is in use, no video can be used, or a stage failed.
    """
    _check_given(base, checkpoint)
    workspace.check()
    workspace.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(workspace.lock):
            report, refused = workspace.take_in(videos, options)
            workspace.configure(base, checkpoint)
            make_masks(workspace, cores=cores)
            return _write(workspace, report, refused)
    except LockHeldError as error:
        raise ValueError(
            f"--out {workspace.folder} is in use by {error.holder or 'another process'}; wait for it"
        ) from None


def _check_given(base: Path | None, checkpoint: Path | None) -> None:
    """Refuse what cannot be read before a video is."""
    if base is not None and not base.is_file():
        raise ValueError(f"--base {base}: no such file; name a configuration")
    if checkpoint is not None:
        try:
            read_manifest(checkpoint)
        except ValueError as error:
            raise ValueError(f"--checkpoint {error}") from None


def _write(workspace: Workspace, report: IngestReport, refused: dict[str, str]) -> VideoMasks:
    config = workspace.config()
    files = MaskFiles.open(workspace.layout, config, SPLIT)
    assert files is not None, "the workflow has made them"
    if not files.any_computed:
        raise ValueError(f"{workspace.folder}: {NO_WINDOWS}; record longer, or raise --fps")
    masks, videos = export(workspace, files, report)
    numbers = MaskNumbers.of(files, config)
    better = advice(numbers, config)
    write_bytes_atomic(workspace.page, masks_page(files, config, report, videos, numbers, better).encode())
    return VideoMasks(report, masks, videos, numbers.coverage, better, refused)
