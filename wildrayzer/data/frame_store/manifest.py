"""The manifest of a split: which parts its frame store consists of, in order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StorePart:
    """Where a part lies in the concatenation of a split's parts. A part never changes once it is made."""

    key: str
    """Digest of the part's frames, cameras, scene names and options."""
    first_scene: int
    """Scene number of the part's first scene in the split."""
    num_scenes: int
    first_frame: int
    """Frame number of the part's first frame in the split."""
    num_frames: int
    seed_frame: int
    """Base of per-frame seeds: the frame number of the part's first frame when the part was first made. It differs from
    `first_frame` where clips before the part were removed since."""
