"""Copy-paste augmentation."""

from typing import Annotated

from pydantic import Field, model_validator

from wildrayzer.config.base import SUPPLEMENT_A, Paper, Section

_SIZE = Paper(SUPPLEMENT_A, listed=False)


class PasteConfig(Section):
    """Copy-paste augmentation with COCO cut-outs (docs/method.md#copy-paste)."""

    affects = "result"

    min_objects: Annotated[int, _SIZE] = Field(1, ge=1)
    """Fewest objects pasted on a view."""
    max_objects: Annotated[int, _SIZE] = Field(2, ge=1)
    """Most objects pasted on a view."""
    min_area: Annotated[float, _SIZE] = Field(0.25, gt=0.0, lt=1.0)
    """Least share of the image covered by an object's box."""
    max_area: Annotated[float, _SIZE] = Field(0.35, gt=0.0, lt=1.0)
    """Largest share of the image covered by an object's box."""
    edge_sigma: Annotated[float, _SIZE] = Field(3.0, ge=0.0)
    """σ in pixels of the Gaussian that blends the edge; 0 pastes hard (release)."""
    margin: Annotated[float, _SIZE] = Field(0.15, ge=0.0, lt=0.5)
    """Share of the image's side kept free of object centres at each border."""
    per_view: Annotated[float, _SIZE] = Field(0.8, ge=0.0, le=1.0)
    """Share of samples with other objects in every view; the rest paste the same object in all views."""
    categories: tuple[str, ...] = ("animal", "vehicle", "person")
    """COCO supercategories to cut out."""

    @model_validator(mode="after")
    def _ordered(self) -> "PasteConfig":
        for low, high in (("min_objects", "max_objects"), ("min_area", "max_area")):
            if getattr(self, high) < getattr(self, low):
                raise ValueError(f"paste.{high} = {getattr(self, high)} is below paste.{low} = {getattr(self, low)}")
        return self
