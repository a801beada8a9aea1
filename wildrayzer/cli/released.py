"""`wildrayzer released`: import, export and verify public checkpoints; describe a network."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from wildrayzer.cli.messages import reported
from wildrayzer.cli.options import Overwrite
from wildrayzer.config.sections.model import ModelConfig

app = typer.Typer(no_args_is_help=True, help="Import, export, verify and describe public checkpoints.")


class CanonicalView(StrEnum):
    """View whose camera is the world frame."""

    first = "first"
    middle = "middle"


Checkpoint = Annotated[Path, typer.Argument(help="File of the release, such as wildrayzer_2view.pt")]
AttentionOption = Annotated[
    Literal["alternating", "per_view", "joint"] | None,
    typer.Option(
        help="Open-RayZer's camera encoder: blocks over all views and over each view in turn, over each view only, or "
        "over all views; by default alternating with rotary positions, else per_view, as the original computes"
    ),
]
CanonicalOption = Annotated[
    CanonicalView, typer.Option(help="View whose camera is the world frame: first in WildRayZer, middle in RayZer")
]


@app.command("import")
def import_released(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write")],
    inputs: Annotated[int, typer.Option(min=1, help="Input views that the checkpoint was trained with")] = 2,
    targets: Annotated[
        int, typer.Option(min=1, help="Target views it was trained with: 6 for WildRayZer, 8 for RayZer on DL3DV")
    ] = 6,
    canonical: CanonicalOption = CanonicalView.first,
    image_size: Annotated[int, typer.Option(min=8, help="Side of the square images in pixels")] = 256,
    camera_attention: AttentionOption = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a released checkpoint into a checkpoint folder.

    Checkpoints of WildRayZer, RayZer, Open-RayZer and LVSM are taken.

    Its kind and sizes are inferred from the weights. The file is memory-mapped, and only weights are read from it.
    After an error nothing is written.
    """
    from wildrayzer.models.cost.parameters import parameter_counts
    from wildrayzer.released.convert import import_released as convert

    with reported():
        mapped = convert(
            checkpoint,
            out,
            inputs=inputs,
            targets=targets,
            image_size=image_size,
            canonical=canonical.value,
            camera_attention=camera_attention,
            overwrite=overwrite,
        )
    config = mapped.config
    typer.echo(f"mapped   {len(mapped.tensors)} weights, {sum(parameter_counts(config).values()):,} parameters")
    typer.echo(f"inferred {_sizes(config)}")
    for line in mapped.ignored or ("nothing",):
        typer.echo(f"ignored  {line}")
    for line in (*mapped.assumed, f"{inputs} input views", f"{targets} target views"):
        typer.echo(f"assumed  {line}")
    for line in mapped.warnings:
        typer.echo(f"warning  {line}")
    typer.echo(f"written  {out}")


@app.command()
def strip(
    checkpoint: Annotated[Path, typer.Argument(help="File that pickles other objects beside its weights")],
    out: Annotated[Path, typer.Option(help="File to write")],
    overwrite: Overwrite = False,
) -> None:
    """Write only the weights of a checkpoint file; no code in it is run.

    Other objects in the file are dropped.
    """
    from wildrayzer.released.strip import strip as keep_weights

    with reported():
        number = keep_weights(checkpoint, out, overwrite=overwrite)
    typer.echo(f"written  {out}, {number} tensors")


@app.command("export")
def export_released(
    directory: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder")],
    out: Annotated[Path, typer.Option(help="File to write")],
    overwrite: Overwrite = False,
) -> None:
    """Convert a checkpoint folder into a file that its release loads.

    An imported checkpoint comes back bit for bit.
    """
    from wildrayzer.released.convert import export_released as convert

    with reported():
        number = convert(directory, out, overwrite=overwrite)
    typer.echo(f"written  {out}, {number} tensors")


@app.command("verify")
def verify_released(
    checkpoint: Checkpoint,
    images: Annotated[Path, typer.Option(help="NPZ with images [B,V,3,H,W] in [0, 1], inputs first")],
    expected: Annotated[Path, typer.Option(help="NPZ with expected outputs, any of those listed above")],
    inputs: Annotated[int, typer.Option(min=1, help="Number of input views")],
    canonical: CanonicalOption = CanonicalView.first,
    mask_threshold: Annotated[
        float | None, typer.Option(help="Motion probability above which a token is masked; 0.1 in the release")
    ] = None,
    backbone: Annotated[Path | None, typer.Option(help="Local Hugging Face folder of a DINOv3 model")] = None,
    cameras: Annotated[
        Path | None, typer.Option(help="NPZ with c2w [B,V,4,4] as given and fxfycxcy [B,V,4] in pixels, for LVSM")
    ] = None,
    camera_attention: AttentionOption = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels, to be checked; read from IMAGES")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Largest absolute difference allowed")] = 1e-4,
) -> None:
    """Run a released checkpoint and compare with expected outputs.

    Exit code 1 if a difference exceeds the tolerance. Outputs: c2w [B,V,4,4], fxfycxcy [B·V,4],
    fov [B,1] in radians, c2w_normalised [B,V,4,4] for LVSM, render [B,T,3,H,W], render_input [B,K,3,H,W],
    input_mask_logits [B·K,1,H,W], target_mask_logits [B·T,1,H,W], input_patch_mask [B·K,1,h,w].
    With a motion head, the released code itself is correct only for batches of one.
    """
    from wildrayzer.released.verify import verify_released as verify

    with reported():
        differences = verify(
            checkpoint,
            images=images,
            expected=expected,
            inputs=inputs,
            canonical=canonical.value,
            mask_threshold=mask_threshold,
            backbone=backbone,
            cameras=cameras,
            camera_attention=camera_attention,
            image_size=image_size,
        )
    typer.echo(f"{'array':<20} {'largest':>10} {'mean':>10}")
    for row in differences:
        verdict = "" if row.within(tolerance) else f"  past the tolerance {tolerance:g}"
        typer.echo(f"{row.name:<20} {row.largest:>10.2e} {row.mean:>10.2e}{verdict}")
    if not all(row.within(tolerance) for row in differences):
        raise typer.Exit(1)


@app.command()
def describe(
    source: Annotated[
        Path, typer.Argument(metavar="CONFIG_OR_CHECKPOINT", help="Configuration file or checkpoint folder")
    ],
) -> None:
    """Print the sizes of a network and its parameter counts by part.

    Of a configuration also which feature backbones have room on GPUs of 8, 24 and 80 GB beside the network.
    """
    from wildrayzer.checkpoint import read_manifest
    from wildrayzer.config import load_config
    from wildrayzer.models.cost.parameters import parameter_counts
    from wildrayzer.tools.planning.backbone_memory import memory_table

    with reported():
        run = None if source.is_dir() else load_config(source)
        config = read_manifest(source).model if run is None else run.model
    typer.echo(f"{config.image_size} px, {_sizes(config)}")
    for line in config.deviations:
        typer.echo(f"differs from the paper  {line}")
    counts = parameter_counts(config)
    for part, number in (*counts.items(), ("total", sum(counts.values()))):
        typer.echo(f"{part:<20} {number:>15,}")
    if run is not None:
        typer.echo("\n" + memory_table(run))


def _sizes(config: ModelConfig) -> str:
    """The sizes of a network in one line."""
    camera_blocks = config.camera_blocks if config.cameras == "predicted" else 0
    blocks = f"{camera_blocks} + {config.scene_blocks} + {config.decoder_blocks}"
    head = "no motion head" if config.motion_head is None else f"motion head of {config.motion_head.blocks} blocks"
    return (
        f"patch {config.patch_size}, width {config.width}, heads of {config.head_width}, blocks {blocks}, "
        f"{config.scene_tokens} scene tokens, {_cameras(config)}, {head}"
    )


def _cameras(config: ModelConfig) -> str:
    """Where the cameras of a network come from."""
    if config.cameras == "given":
        return "given cameras"
    return "pi3 camera head" if config.camera_head == "pi3" else f"{config.pose} pose"
