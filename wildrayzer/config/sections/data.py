"""Data sets: where they come from, how they are stored, and the embedded procedural set."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from wildrayzer.config.base import FilePath, Observation, Section, Speed

Layout = Literal["pixelsplat", "lvsm", "davis", "embedded"]

DATA_FOLDER = "resources/data"
"""Where fetched data sets go: SOURCE/PART below it is the place of a part of a source."""


class SplitConfig(Section):
    """One split of one data set, as it enters the frame store."""

    affects = "result"
    renamed: ClassVar[Mapping[str, str]] = {"use": "purpose"}

    layout: Layout
    """`pixelsplat`: `.torch` chunks. `lvsm`: processed folders (D-RE10K and its iPhone pairs have this one). `davis`:
    JPEGImages and Annotations as palette PNG, without cameras. `embedded`: made by the procedural generator first, in
    the layout that `embedded` names for it."""
    source: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    """SOURCE/PART of the table of sources, such as `re10k/train`: fetched by a job when it is missing. Null for a set
    of your own and for `embedded`."""
    path: FilePath | None = None
    """Folder of the split (`pixelsplat`: holds the chunks; `lvsm`: full_list.txt; `davis`: JPEGImages). Null takes the
    place of `source` below resources/data; a path of your own is used as it is and nothing is fetched."""
    scene_list: str | None = None
    """List of scenes below `path`, for `davis` only, such as `ImageSets/2017/train.txt`; null takes the `val.txt` of
    2017 or 2016 if there is one, else all scenes."""
    role: Literal["static", "dynamic", "pairs"]
    """`static`: nothing moves. `dynamic`: objects move, masks may be known. `pairs`: dynamic with a clean twin."""
    purpose: Literal["train", "test", "control", "calibration", "twin"]
    """What the split is for: training; all tables (`test`); only the mask tables (`control`); for a static split, the
    thresholds of the absolute test (`calibration`); or, for an embedded split with `reuse_cameras_of`, its cameras,
    with which the clips of that split are rendered (`twin`)."""
    limit: int | None = Field(None, ge=1)
    """Take the first scenes only; null takes all."""
    expected_scenes: Observation[int | None] = Field(None, ge=1)
    """Scenes the full split has; a different count is reported."""
    cameras: Observation[bool | None] = None
    """Whether the frames come with true cameras, which `model.cameras: given` needs; null: those of `pixelsplat`,
    `embedded` and static splits of `lvsm` do. Dynamic-RE10K has placeholders."""

    @model_validator(mode="before")
    @classmethod
    def _place_of_source(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("source") and values.get("path") is None:
            return {**values, "path": f"{DATA_FOLDER}/{values['source']}"}
        return values

    @property
    def has_cameras(self) -> bool:
        """Whether the frames come with true cameras, as far as the configuration tells."""
        if self.cameras is not None:
            return self.cameras
        return self.layout in ("pixelsplat", "embedded") or (self.layout == "lvsm" and self.role == "static")

    @model_validator(mode="after")
    def _path_fits(self) -> "SplitConfig":
        if (self.path is None) != (self.layout == "embedded"):
            raise ValueError(
                f"layout: {self.layout} with path: {self.path}; give a source or a path to every layout but `embedded`"
            )
        if self.scene_list is not None and self.layout != "davis":
            raise ValueError(f"scene_list: {self.scene_list} with layout: {self.layout}; only `davis` has such lists")
        return self


class StoreConfig(Section):
    """The frame store."""

    affects = "result"

    frames_per_shard: Speed[int] = Field(512, ge=1)
    """Frames in a shard file; one frame is one chunk."""
    frames_per_part: Speed[int] = Field(2048, ge=1)
    """Frames in a part of a split, about; a part is what one process prepares, and what is made again when one of its
    clips changes. Parts that exist stay as they are."""
    compression: Speed[int] = Field(3, ge=0, le=9)
    """zstd level of the lossless codec."""
    train_codec: Literal["zstd", "jpeg"] = "zstd"
    """How frames of splits with `purpose: train` are stored: `zstd` without loss, or `jpeg` (4:4:4), about a quarter of
    the size. Masks, and the frames of all other splits, are always without loss."""
    jpeg_quality: int = Field(95, ge=50, le=100)
    """Quality of `train_codec: jpeg`."""
    max_skipped: Observation[float] = Field(0.05, ge=0.0, le=1.0)
    """Largest share of scenes that may be skipped, each with its reason, before the stage fails."""
    preload_mb: Speed[int] = Field(512, ge=0)
    """Splits up to this size are held in memory by training; larger ones are read frame by frame."""

    def codec(self, purpose: str) -> Literal["zstd", "jpeg"]:
        """Codec of the frames of a split with this purpose."""
        return self.train_codec if purpose == "train" else "zstd"


class EmbeddedSplit(Section):
    """One procedural split."""

    affects = "result"
    renamed: ClassVar[Mapping[str, str]] = {"standing_actors": "static_actors", "seed_of": "reuse_seed_of"}

    scenes: int = Field(ge=1)
    """Clips."""
    movers: Literal["none", "actors", "furniture"] = "none"
    """What moves: nothing, actors (their own shapes and colours), or furniture (the same family as what stands)."""
    static_actors: float = Field(0.0, ge=0.0, le=1.0)
    """Share of clips without movers in which actors stand still."""
    frozen: bool = False
    """Movers stand still at their middle pose; the masks mark them all the same."""
    layout: Literal["pixelsplat", "lvsm"] = "lvsm"
    """Outside layout the split is written in."""
    truth: Literal["none", "masks", "masks_and_clean"] = "none"
    """Ground truth written beside the frames."""
    reuse_seed_of: str | None = None
    """Name of a split whose scenes are repeated (the same clips under other rules); null draws new ones."""

    reuse_cameras_of: str | None = None
    """Name of a split whose camera paths these clips follow, clip by clip, in other rooms; null draws new ones."""


class EmbeddedConfig(Section):
    """The procedural data set: textured box rooms seen along smooth camera paths, with things that move."""

    affects = "result"

    seed: int = 0
    """All scenes follow from it."""
    frames: int = Field(10, ge=4)
    """Frames of a clip."""
    supersampling: int = Field(2, ge=1, le=4)
    """Rays along the side of a pixel."""
    texture_detail: int = Field(6, ge=2)
    """Texels along the side of a texture before smooth enlargement."""
    texture_contrast: float = Field(0.2, gt=0.0)
    """Standard deviation of a texture, in [0, 1] intensity."""
    slide: float = Field(1.2, ge=0.0)
    """Largest sideways camera travel, in metres (rooms are 3 to 4.5 m wide)."""
    pan: float = Field(0.35, ge=0.0)
    """Largest camera yaw over a clip, in radians."""
    boxes: tuple[int, int] = (2, 4)
    """Fewest and most pieces of furniture."""
    mover_count: tuple[int, int] = (1, 2)
    """Fewest and most movers in a clip that has some."""
    mover_size: tuple[float, float] = (0.2, 0.45)
    """Half extents of a mover, in metres."""
    mover_travel: tuple[float, float] = (0.6, 1.1)
    """Path length of a mover, in half widths of the view at its depth."""
    cutouts: int = Field(120, ge=1)
    """Images in the COCO stand-in."""
    cutout_family: Literal["other", "movers"] = "other"
    """Objects in the COCO stand-in. `other`: shapes, colours and lighting that no mover has, so that pasted and real
    motion differ as they do in the paper. `movers`: half of the objects come from the movers' own generator."""
    splits: dict[str, EmbeddedSplit] = Field(default_factory=dict)
    """Procedural splits by name; `data.splits` names the same ones with layout `embedded`."""


class CocoConfig(Section):
    """Cut-outs for copy-paste. Paths that are places in the table of sources are fetched when they are missing."""

    affects = "result"

    annotations: FilePath | None = None
    """COCO annotation file; null takes the embedded stand-in."""
    images: FilePath | None = None
    """Folder of the images the annotations name; null takes the embedded stand-in."""

    @model_validator(mode="after")
    def _both(self) -> "CocoConfig":
        if (self.annotations is None) != (self.images is None):
            raise ValueError("data.coco.annotations and data.coco.images go together; give both or neither")
        return self


class DataConfig(Section):
    """All data of a run."""

    affects = "result"

    sources: FilePath | None = None
    """Table of sources; null takes the repository's resources/sources.yaml."""
    splits: dict[str, SplitConfig]
    """Splits by name, of letters, digits, spaces and `_`, `.`, `-`: names of files and in the workflow's patterns."""
    static_train: str | None = None
    """Split for pretraining and for the static half of later stages; null in a run that trains nothing and only scores
    checkpoints, masks and renderings from elsewhere."""
    dynamic_train: str | None = None
    """Split whose pseudo-masks are made and learned; null in a run of the static renderer alone
    (`model.motion_head: null`)."""
    coco: CocoConfig = CocoConfig()
    """Cut-outs for copy-paste."""
    store: StoreConfig = StoreConfig()
    """Frame store."""
    embedded: EmbeddedConfig | None = None
    """Procedural generator; needed as soon as a split has layout `embedded`."""

    @field_validator("splits")
    @classmethod
    def _names_of_files(cls, splits: dict[str, SplitConfig]) -> dict[str, SplitConfig]:
        for name in splits:
            if not re.fullmatch(r"\w[\w .-]*", name):
                raise ValueError(
                    f"the name {name!r} is not of letters, digits, spaces, '_', '.' and '-', with a letter or digit "
                    "first; rename the split"
                )
        return splits

    @model_validator(mode="after")
    def _splits_fit(self) -> "DataConfig":
        for option, role in (("static_train", "static"), ("dynamic_train", "dynamic")):
            name = getattr(self, option)
            if name is None:
                continue
            if name not in self.splits:
                raise ValueError(f"data.{option} = {name!r} is no split; known: {sorted(self.splits)}")
            if (self.splits[name].role, self.splits[name].purpose) != (role, "train"):
                raise ValueError(f"data.{option} = {name!r} must have role: {role} and purpose: train")
        for name, split in self.splits.items():
            if split.purpose == "calibration" and split.role != "static":
                raise ValueError(f"data.splits.{name}: a calibration split must have role: static")
            if split.layout != "embedded":
                if split.purpose == "twin":
                    raise ValueError(f"data.splits.{name}: only a split with layout: embedded can have purpose: twin")
                continue
            if self.embedded is None or name not in self.embedded.splits:
                raise ValueError(f"data.splits.{name} has layout: embedded, but data.embedded.splits has no {name!r}")
            made = self.embedded.splits[name]
            path = made.reuse_cameras_of
            if split.purpose == "twin" and (path is None or made.scenes < self.embedded.splits[path].scenes):
                raise ValueError(
                    f"data.splits.{name} has purpose: twin, but data.embedded.splits.{name} names no split in "
                    "reuse_cameras_of, or has fewer scenes than that split"
                )
            if split.role == "pairs" and made.truth != "masks_and_clean":
                raise ValueError(f"data.embedded.splits.{name}: role: pairs needs truth: masks_and_clean")
        for name, made in (self.embedded.splits if self.embedded else {}).items():
            if made.reuse_seed_of is not None and made.reuse_seed_of not in self.embedded.splits:  # type: ignore[union-attr]
                raise ValueError(
                    f"data.embedded.splits.{name}.reuse_seed_of = {made.reuse_seed_of!r} is no embedded split"
                )
            path = made.reuse_cameras_of
            if path is not None and (path == name or path not in self.embedded.splits):  # type: ignore[union-attr]
                raise ValueError(f"data.embedded.splits.{name}.reuse_cameras_of = {path!r} is no other embedded split")
            if made.frozen and made.movers == "none":
                raise ValueError(f"data.embedded.splits.{name}: frozen: true needs movers to freeze")
        needs_coco = self.dynamic_train is not None and self.coco.annotations is None
        if needs_coco and self.embedded is None:
            raise ValueError("data.coco is empty and there is no data.embedded to take cut-outs from; give one of them")
        return self

    def twin_of(self, split: str) -> str | None:
        """The split with `purpose: twin` whose clips share the camera paths of `split`; None where there is none."""
        made = {} if self.embedded is None else self.embedded.splits
        return next((name for name in self.of(purpose="twin") if made[name].reuse_cameras_of == split), None)

    def of(self, *, role: str | None = None, purpose: str | None = None) -> tuple[str, ...]:
        """Names of the splits with this role and purpose, in the order of the file."""
        return tuple(
            name
            for name, split in self.splits.items()
            if (role is None or split.role == role) and (purpose is None or split.purpose == purpose)
        )
