"""`wildrayzer score`: masked metrics of any renderings."""

import json
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported


def score(
    truth: Annotated[Path, typer.Option(help="NPZ with images [N,3,H,W], floating point in [0, 1]")],
    prediction: Annotated[Path, typer.Option(help="NPZ with images [N,3,H,W], as the truth")],
    mask: Annotated[Path, typer.Option(help="NPZ with mask [N,1,H,W], 1 = transient")],
    lpips_weights: Annotated[
        Path | None, typer.Option(help="VGG-16 weights for LPIPS (torchvision's vgg16-397923af.pth)")
    ] = None,
) -> None:
    """Score any renderings: PSNR, SSIM and LPIPS by region.

    Regions are the full frame, the static and the transient pixels. Prints JSON: definitions, means, numbers of empty
    masks, and the values of each image. A region without pixels scores NaN. An image that equals its truth has an
    infinite PSNR. Both are written as the literals NaN and Infinity, excluded from the mean, and counted.
    """
    from wildrayzer.evaluation.methods.npz_renderings import check_sizes, read_images, read_mask, score_renderings
    from wildrayzer.evaluation.metrics.lpips import load_lpips

    with reported():
        true_images, images, masks = read_images(truth), read_images(prediction), read_mask(mask)
        check_sizes(true_images, images, masks)
        lpips = load_lpips(lpips_weights) if lpips_weights else None
        result = score_renderings(true_images, images, masks, lpips=lpips)
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
