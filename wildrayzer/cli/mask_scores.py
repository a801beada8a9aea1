"""`wildrayzer masks score`: anyone's masks against annotations, both in the layout of DAVIS."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported
from wildrayzer.cli.options import Overwrite


def score(
    truth: Annotated[Path, typer.Argument(help="Folder in the layout of DAVIS that holds Annotations")],
    methods: Annotated[
        list[str],
        typer.Argument(metavar="NAME=FOLDER...", help="Masks of each method: a folder with Annotations, or of scenes"),
    ],
    scene_list: Annotated[
        str | None,
        typer.Option("--list", help="List of scenes below TRUTH [default: ImageSets/2017/val.txt, else all]"),
    ] = None,
    scene: Annotated[
        list[str] | None, typer.Option(help="Score only scenes whose name contains this; repeatable")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the scores of every frame")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare masks of any tools by J&F, J, F and IoU.

    All methods are scored on all annotated frames, in the size of the annotations. Several objects are united.
    """
    from rich.console import Console
    from rich.table import Table

    from wildrayzer.evaluation.methods.davis_folders import METRICS, means_over_sequences, score_folders
    from wildrayzer.evaluation.tables.rows import HEADINGS, number
    from wildrayzer.io.files import write_bytes_atomic
    from wildrayzer.io.outputs import check_outputs

    with reported():
        named = {name: Path(folder) for name, _, folder in (method.partition("=") for method in methods)}
        wrong = [method for method in methods if not all(method.partition("="))]
        if wrong or len(named) < len(methods):
            raise ValueError(f"{', '.join(wrong or methods)}: write NAME=FOLDER, each name once")
        if out is not None:
            check_outputs([out], same=False, overwrite=overwrite)
        scores = score_folders(truth, named, scene_list=scene_list, scenes=scene or [])
        if out is not None:
            write_bytes_atomic(out, scores.to_csv(index=False).encode())
    table = Table("method", *(HEADINGS[metric] for metric in METRICS), "sequences", "frames")
    for name, row in means_over_sequences(scores).iterrows():
        values = [number(row[metric], metric) for metric in METRICS]
        table.add_row(str(name), *values, str(int(row["scenes"])), str(int(row["frames"])))
    Console().print(table)
    typer.echo("Means over sequences, as of DAVIS. The IoU leaves out frames without true foreground.")
    if out is not None:
        typer.echo(f"written  {out}")
