"""Writes the gallery of a pseudo-mask cache; windows are rendered again if their renderer is available."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from wildrayzer.checkpoint import load_checkpoint, read_manifest
from wildrayzer.images.psnr import CAP, psnr
from wildrayzer.io.files import read_json, write_json
from wildrayzer.io.outputs import check_outputs
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.predictors import Predictor, predict, predict_by_control
from wildrayzer.tools.inspect.files import CacheFiles
from wildrayzer.tools.inspect.frame_statistics import WindowRows
from wildrayzer.tools.inspect.health import Check, health, sentence
from wildrayzer.tools.inspect.pages import Shown, summary_page, windows_page
from wildrayzer.tools.inspect.pictures import Renderings, Scales, columns, window_script
from wildrayzer.tools.inspect.provenance import origins, renderer_folder

MARKER = "gallery.json"
"""File that marks a folder as a gallery, which may be replaced."""
VERSION = 1
_AT_ONCE, _WORKERS = 16, 8
_CONTROLS: dict[str, Predictor] = {"nearest": "nearest", "blurred": "blurred"}


@dataclass(frozen=True)
class Renderer:
    """The predictor of a cache: a renderer with its weights, or a control, which needs none."""

    predictor: Predictor
    model: WildRayZer | None
    device: str

    @torch.no_grad()
    def render(self, files: CacheFiles, number: int) -> tuple[Renderings, np.ndarray]:
        """Predictions of a window's targets, and their PSNR in dB; frames and windows must be available."""
        store, window = files.store, files.window(number)
        assert store is not None
        assert window is not None
        start = int(store.offsets[window.scene])
        inputs, targets = (
            torch.from_numpy(store.read(start + np.array(views))).to(self.device).permute(0, 3, 1, 2).float()[None]
            / 255
            for views in (window.inputs, window.targets)
        )
        if self.predictor == "renderer":
            assert self.model is not None
            predicted = predict("renderer", self.model, inputs, targets, [window])
        else:
            patch_size = store.image_size // files.maps.sizes["patch_row"]
            predicted = predict_by_control(self.predictor, inputs, targets, [window], patch_size=patch_size)
        fidelity = psnr(targets[0], predicted[0]).clamp(max=CAP).cpu().numpy()
        return predicted[0].permute(0, 2, 3, 1).cpu().numpy(), fidelity


def find_renderer(
    files: CacheFiles, *, checkpoint: str | Path | None = None, device: str = "cpu"
) -> tuple[Renderer | None, str]:
    """What can render the windows of a cache again, or None and the reason.

    Args:
        files: the cache.
        checkpoint: folder of the renderer; None searches the run's checkpoints.
        device: where to render.

    Raises:
        ValueError: `checkpoint` is not the renderer that made the cache.
    """
    if files.store is None or files.windows is None:
        return None, ""
    digest = files.maps.digests.get("renderer", "not recorded")
    if digest in _CONTROLS:
        return Renderer(_CONTROLS[digest], None, device), ""
    folder = Path(checkpoint) if checkpoint else renderer_folder(files.place, digest)
    if folder is None:
        return None, (
            f"No checkpoint of the run has the weights {digest} that made the cache: renderings are left out. Name it "
            "with --renderer."
        )
    weights = read_manifest(folder).weights_digest
    if weights != digest:
        raise ValueError(
            f"--renderer {folder} has the weights {weights}, the cache was made with {digest}; name the "
            "checkpoint with those weights"
        )
    model, _ = load_checkpoint(folder, device=device)
    return Renderer("renderer", model.eval().requires_grad_(False), device), ""


def write_gallery(
    shown: Shown, out: str | Path, *, renderer: Renderer | None, still: bool, notes: Sequence[str] = ()
) -> str:
    """Write a gallery: a self-contained folder whose index.html is the summary.

    Args:
        shown: statistics of the cache, and the windows to show.
        out: folder; a gallery there is replaced, also that of another cache.
        renderer: renders the windows again; None leaves renderings out.
        still: nothing moves in this split.
        notes: what is missing, and why.

    Returns:
        The verdict, in one line.

    Raises:
        ValueError: `out` contains something else.
    """
    out = Path(out).resolve()
    check_folder(out, residuals=shown.files.maps.digest, overwrite=True)
    temporary = out.with_name(f".{out.name}.unfinished")
    if temporary.exists():
        shutil.rmtree(temporary)
    (temporary / "windows").mkdir(parents=True)
    try:
        checks = _write_pages(shown, temporary, renderer, still=still, notes=notes)
        _replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sentence(checks)


def _replace(made: Path, out: Path) -> None:
    """Replace the content of `out` by that of a folder.

    The folder `out` itself stays, since the command may be called from it, and is marked as a gallery at all times.
    """
    out.mkdir(exist_ok=True)
    for old in sorted(out.iterdir(), key=lambda one: one.name == MARKER):
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for new in sorted(made.iterdir(), key=lambda one: one.name != MARKER):
        new.rename(out / new.name)


def check_folder(out: Path, *, residuals: str, overwrite: bool) -> None:
    """Refuse to replace anything but a gallery of the same cache.

    Args:
        out: folder that a gallery is to be written to; everything in it is removed.
        residuals: digest of the cache's residuals.
        overwrite: also replace a gallery of another cache.

    Raises:
        ValueError: something other than a gallery is there.
    """
    marker = out / MARKER
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not marker.is_file()):
        raise ValueError(f"--out {out} exists and is not a gallery; name a new folder")
    about = read_json(marker, fix="delete the gallery") if marker.is_file() else {}
    check_outputs([out], same=isinstance(about, dict) and about.get("residuals") == residuals, overwrite=overwrite)


def _write_pages(
    shown: Shown, folder: Path, renderer: Renderer | None, *, still: bool, notes: Sequence[str]
) -> list[Check]:
    """Write all files of a gallery; returns the checks."""
    files, scales = shown.files, Scales.of(shown.files)
    made_by = origins(files.place.path)
    files.preload()
    headings = columns(files, scales, rendered=renderer is not None)
    difference = _write_windows(shown, folder / "windows", renderer, scales, [key for key, _ in headings])
    checks = health(files, shown.statistics, still=still, psnr_difference=difference)
    (folder / "windows.html").write_text(windows_page(shown, headings), encoding="utf-8")
    notes = [*files.notes, *notes]
    if len(shown.windows) < (total := len(np.unique(shown.statistics.window))):
        notes.append(
            f"The gallery shows {len(shown.windows)} of {total} windows; statistics and plots are of all windows."
        )
    (folder / "index.html").write_text(summary_page(shown, checks, made_by, notes), encoding="utf-8")
    about = {"gallery": VERSION, "residuals": files.maps.digest, "windows": len(shown.windows)}
    write_json(folder / MARKER, about | {"checks": [dataclasses.asdict(check) for check in checks], "notes": notes})
    return checks


def _write_windows(
    shown: Shown, folder: Path, renderer: Renderer | None, scales: Scales, keys: list[str]
) -> float | None:
    """Write the pictures of every window; returns the largest difference from the cached PSNR in dB."""
    files, difference = shown.files, None if renderer is None else 0.0

    def write(window: WindowRows, renderings: Renderings | None) -> None:
        listed = files.window(window.number)
        start = int(files.maps.offsets[shown.scene(window)])
        inputs = start + np.array(listed.inputs) if listed else np.empty(0, np.int64)
        frames = shown.statistics.frame[window.rows]
        script = window_script(window.number, files, scales, frames, inputs, renderings, keys)
        (folder / f"{window.number:06d}.js").write_text(script, encoding="utf-8")

    starts = range(0, len(shown.windows), _AT_ONCE)
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool:
        for start in track(starts, "writing windows", console=Console(stderr=True)):
            batch = shown.windows[start : start + _AT_ONCE]
            rendered: list[Renderings | None] = [None] * len(batch)
            if renderer is not None:
                for index, window in enumerate(batch):
                    rendered[index], fidelity = renderer.render(files, window.number)
                    apart = np.abs(fidelity - shown.statistics.psnr[window.rows])
                    difference = max(difference or 0.0, float(np.nanmax(apart, initial=0.0)))
            list(pool.map(write, batch, rendered))
    return difference
