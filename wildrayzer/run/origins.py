"""Whether the caches in a run's folder belong to it: checked before a job starts, by the digests that they hold."""

from collections.abc import Container, Iterable
from pathlib import Path

from pydantic import BaseModel, Field

from wildrayzer.io.digests import check_digests
from wildrayzer.io.validated import read_validated
from wildrayzer.run.layout import RunLayout

_FIX = "make it again"


class _Attributes(BaseModel):
    """What a frame store or a cache says about itself."""

    digest: str | None = None
    digests: dict[str, str] = Field(default_factory=dict)


class _Group(BaseModel):
    attributes: _Attributes = Field(default_factory=_Attributes)


class _Weights(BaseModel):
    weights_digest: str


def foreign_caches(
    layout: RunLayout, *, rounds: int, masks: Iterable[tuple[str, str]], remade: Container[str] = ()
) -> list[str]:
    """Caches in the run's folder that were made from another renderer, frame store or cache than the one beside them.

    Args:
        layout: of the run.
        rounds: rounds of the run.
        masks: (split, predictor) of the caches to check.
        remade: paths that jobs will make again; these are not checked.

    Returns:
        A line for each such cache, naming it and the digests that differ.
    """
    wrong = []
    for number in range(1, rounds + 1):
        renderer = layout.checkpoint("pretrain") if number == 1 else layout.checkpoint("joint", number - 1)
        for split, predictor in masks:
            residuals = layout.residuals(number, split, predictor)
            made_of = {"store": _digest(layout.store(split))}
            if predictor == "renderer":
                made_of["renderer"] = _weights(renderer)
            groups = (
                (residuals, made_of, "residuals"),
                (layout.patch_masks(number, split, predictor), {"residuals": _digest(residuals)}, "pseudo_masks"),
                (layout.pixel_masks(number, split, predictor), {"residuals": _digest(residuals)}, "refine"),
            )
            for path, expected, stage in groups:
                attributes = _attributes(path)
                if path in remade or attributes is None:
                    continue
                known = {name: value for name, value in expected.items() if value is not None}
                try:
                    check_digests(path, attributes.digests, known, stage)
                except ValueError as error:
                    wrong.append(f"{error} (delete it first)")
    return wrong


def _attributes(path: str) -> _Attributes | None:
    """What a manifest, or a complete group of an earlier version, says about itself; None where there is neither."""
    manifest = Path(path)
    attributes = read_validated(manifest, _Attributes, fix=_FIX) if manifest.is_file() else _Attributes()
    group = manifest.with_suffix(".zarr") / "zarr.json"
    if attributes.digest is None and group.is_file():
        attributes = read_validated(group, _Group, fix=_FIX).attributes
    return None if attributes.digest is None else attributes


def _digest(path: str) -> str | None:
    attributes = _attributes(path)
    return None if attributes is None else attributes.digest


def _weights(checkpoint: str) -> str | None:
    manifest = Path(checkpoint) / "manifest.json"
    return read_validated(manifest, _Weights, fix=_FIX).weights_digest if manifest.is_file() else None
