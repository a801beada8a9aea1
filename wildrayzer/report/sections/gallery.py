"""Pseudo-masks in pictures: every step from residual to pixel mask, for a few windows of each kind of split."""

import numpy as np
from jaxtyping import Float

from wildrayzer.config import RunConfig
from wildrayzer.data.sampling.windows import Window
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.fusion import dino_weight, fuse
from wildrayzer.report.page.contact_sheets import spread
from wildrayzer.report.page.page import Block, Column, Gallery, GalleryRow, Note, Picture
from wildrayzer.report.page.pictures import cluster_picture, heat, map_uri, mask_picture, photo_uri, ramp
from wildrayzer.report.run_files import NO_WINDOWS, MaskFiles, splits_by_kind
from wildrayzer.run.layout import RunLayout

_WINDOWS = 4
_QUANTILE = 0.99
_FUSED = (-1.5, 3.0)
_SPREAD = "Windows evenly spread over the split, the middle target of each; residuals as 1 − similarity."
KINDS = {
    "moving": "Things move: masks should cover them.",
    "pairs": "Things move: masks should cover them.",
    "frozen": "The same things stand still (the truth column still marks them): masks should be empty.",
    "same_family": "Movers look like furniture: appearance is not enough to find them.",
}


def galleries(config: RunConfig, layout: RunLayout) -> list[Block]:
    """A gallery of the dynamic test split and of each control, all on the same colour scales."""
    splits = splits_by_kind(config, masks=True)
    chosen = [(kind, name) for kind, name in splits.items() if kind in KINDS and kind != "pairs"]
    blocks: list[Block] = []
    scales = None
    for kind, name in chosen:
        files = MaskFiles.open(layout, config, name)
        if files is None:
            blocks.append(Note(f"{name}: its pseudo-masks are not made yet, so their gallery is left out."))
            continue
        if not files.any_computed:
            blocks.append(Note(f"{name}: {NO_WINDOWS}, so its gallery is left out."))
            continue
        scales = scales or colour_scales(files.maps)
        text = f"{KINDS[kind]} {_SPREAD}"
        blocks.append(mask_gallery(files, text, config, scales))
    return blocks


def how_masks_are_made(config: RunConfig) -> str:
    """How the masks were made, from the configuration."""
    masks, residuals = config.pseudo_masks, config.residuals
    weight = (
        f"a feature weight that falls from {masks.dino_weight_low:g} at {masks.psnr_low:g} dB to "
        f"{masks.dino_weight_high:g} at {masks.psnr_high:g} dB"
        if masks.weighting == "adaptive"
        else f"a fixed feature weight of {masks.dino_weight:g}"
    )
    test = (
        "no absolute test"
        if masks.absolute_test == "off"
        else f"an absolute test per {masks.absolute_test} that lets {masks.false_positive_rate:.0%} of static patches "
        "pass"
    )
    return (
        f"Feature and SSIM residuals are standardised within the frame and fused with {weight}. Of a window's "
        f"{residuals.clusters} clusters the {masks.top_share:.0%} of highest mean saliency stay if they reach the "
        f"{masks.frame_quantile:g} quantile of a frame in at least {masks.frame_share:.0%} of the targets; {test}. "
        f"Only frames rendered at more than {config.distill.psnr_filter:g} dB teach the motion head."
    )


def colour_scales(maps: ResidualMaps) -> dict[str, float]:
    """Upper ends of the colour scales of both residuals."""
    computed = maps.window >= 0
    return {
        name: float(np.quantile(maps.all(name)[computed].astype(np.float64), _QUANTILE))
        for name in ("d_dino", "d_ssim")
    }


def mask_gallery(files: MaskFiles, text: str, config: RunConfig, scales: dict[str, float]) -> Gallery:
    """Windows evenly spread over a split with the renderer's masks, from the inputs to the pixel mask."""
    windows = [files.windows.windows[number] for number in spread(len(files.windows), _WINDOWS)]
    columns = (
        *(Column(f"input {number + 1}") for number in range(files.windows.inputs)),
        Column("target"),
        ramp("feature residual", 0.0, scales["d_dino"]),
        ramp("SSIM residual", 0.0, scales["d_ssim"]),
        ramp("fused", *_FUSED, " σ"),
        Column("clusters"),
        Column("patch mask"),
        Column("pixel mask"),
        *([Column("truth")] if files.store.has_masks else []),
    )
    rows = tuple(_row(files, window, config, scales) for window in windows)
    return Gallery(f"Pseudo-masks of {files.split}", text, columns, rows)


def _row(files: MaskFiles, window: Window, config: RunConfig, scales: dict[str, float]) -> GalleryRow:
    assert files.pixels is not None, "galleries show the renderer's masks"
    start, target = int(files.store.offsets[window.scene]), window.targets[len(window.targets) // 2]
    frame = np.array([start + target])
    inputs = files.store.read(start + np.array(window.inputs))
    d_dino, d_ssim, clusters = (files.maps.take(name, frame)[0] for name in ("d_dino", "d_ssim", "clusters"))
    psnr = files.maps.psnr[frame]
    fused = fuse(d_dino[None], d_ssim[None], psnr, config.pseudo_masks)[0]
    seen = f"frame {target} of {files.store.scenes[window.scene]}"
    maps = [
        ("feature residual", heat(d_dino, 0.0, scales["d_dino"])),
        ("SSIM residual", heat(d_ssim, 0.0, scales["d_ssim"])),
        ("fused saliency", heat(fused, *_FUSED)),
        ("clusters", cluster_picture(clusters)),
        ("patch mask", mask_picture(files.patches.read(frame)[0])),
        ("pixel mask", mask_picture(files.pixels.read(frame)[0])),
    ]
    if files.store.has_masks:
        maps.append(("true mask", mask_picture(files.store.read_masks(frame)[0])))
    photographs = [*inputs, files.store.read(frame)[0]]
    pictures = [Picture(photo_uri(image), f"View of {files.store.scenes[window.scene]}") for image in photographs]
    pictures += [Picture(map_uri(image), f"{name}, {seen}") for name, image in maps]
    return GalleryRow(_label(seen, float(psnr[0]), config, psnr), tuple(pictures))


def _label(seen: str, value: float, config: RunConfig, psnr: Float[np.ndarray, " n"]) -> str:
    weight = float(dino_weight(psnr, config.pseudo_masks)[0])
    limit = config.distill.psnr_filter
    verdict = f"kept, over {limit:g} dB" if value > limit else f"left out by the PSNR filter, {limit:g} dB"
    return f"{seen}: rendered at {value:.1f} dB ({verdict}); feature weight {weight:.2f}"
