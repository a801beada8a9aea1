"""WebDataset shards: tar files whose members with the same name up to the first dot are one sample."""

import functools
import io
import itertools
import json
import tarfile
from pathlib import Path

from wildrayzer.tools.export.export import Counts, Format
from wildrayzer.tools.export.pictures import encoded
from wildrayzer.tools.export.source import ExportFrame, ExportSource

POLARITY = "0 = static, 1 = transient, 255 = unknown"


def write_shards(source: ExportSource, scenes: list[str], folder: Path, counts: Counts, *, per_shard: int) -> None:
    """Write `frames-000000.tar` and so on, with up to `per_shard` frames each.

    A sample is SCENE/NUMBER with `png` (the frame), `mask.png` where masks are known, and `json`: scene, frame and,
    where cameras are known, `c2w` (OpenCV axes) and `intrinsics` (fx fy cx cy, divided by width and height). The same
    source gives the same bytes.
    """
    frames = ((scene, frame) for scene in scenes for frame in source.read(scene))
    while first := next(frames, None):
        with tarfile.open(folder / f"frames-{counts.frames // per_shard:06d}.tar", "w") as shard:
            for scene, frame in itertools.chain([first], itertools.islice(frames, per_shard - 1)):
                for suffix, payload in _members(scene, frame).items():
                    member = tarfile.TarInfo(f"{scene}/{frame.name}.{suffix}")
                    member.size = len(payload)
                    shard.addfile(member, io.BytesIO(payload))
                counts.add(frame)


def _members(scene: str, frame: ExportFrame) -> dict[str, bytes]:
    """Content of a sample's files by their ending."""
    about: dict[str, object] = {"scene": scene, "frame": frame.number}
    if frame.camera is not None:
        about |= {"c2w": frame.camera.c2w.tolist(), "intrinsics": frame.camera.intrinsics.tolist()}
    members = {"json": json.dumps(about).encode(), "png": encoded(frame.image, ".png")}
    if frame.mask is not None:
        members["mask.png"] = encoded(frame.mask, ".png")
    return members


def webdataset_format(*, per_shard: int) -> Format:
    """WebDataset shards; see `write_shards`."""
    return Format("WebDataset", functools.partial(write_shards, per_shard=per_shard), POLARITY, cameras=True)
