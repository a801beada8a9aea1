"""Frame stores as a torch data set."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from wildrayzer.data.frame_store.store import FrameStore


class FrameDataset(Dataset[dict[str, Any]]):
    """The frames of a split, one item per frame, in the order of the store. Works in loader workers.

    An item is a dictionary:

    - `image`: float32 [3 h w], RGB in [0, 1];
    - `scene`: name of the clip; `frame`: number of the frame in it, from 0; `index`: number of the item;
    - where the store has them: `clean`, the same frame without transients, as `image`; `mask`, uint8 [h w], 1 =
      transient, 0 = static, 255 = unknown; `c2w`, float32 [4 4], camera to world with OpenCV axes, and `intrinsics`,
      float32 [4], fx fy cx cy divided by width and height.

    Attributes:
        store: the store.
    """

    def __init__(self, store: FrameStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return self.store.num_frames

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.store.path} has {len(self)} frames; asked for {index}")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several items with one read; data loaders call this."""
        frames = np.asarray(indices, np.int64)
        arrays = self._arrays(frames)
        scenes = self.store.scene_of(frames).tolist()
        return [
            {
                **{name: values[place] for name, values in arrays.items()},
                "scene": self.store.scenes[scene],
                "frame": index - int(self.store.offsets[scene]),
                "index": index,
            }
            for place, (index, scene) in enumerate(zip(frames.tolist(), scenes, strict=True))
        ]

    @property
    def scenes(self) -> list[str]:
        """Names of the clips."""
        return list(self.store.scenes)

    def clip(self, scene: str) -> dict[str, torch.Tensor]:
        """All frames of a clip, stacked: the tensors of its items.

        Raises:
            ValueError: there is no such clip.
        """
        if scene not in self.store.scenes:
            raise ValueError(f"{self.store.path} has no clip {scene!r}; `scenes` lists the clips")
        first, after = self.store.offsets[self.store.scenes.index(scene) :][:2]
        return self._arrays(np.arange(first, after))

    def _arrays(self, frames: np.ndarray) -> dict[str, torch.Tensor]:
        store = self.store
        found = {"image": _image(store.read(frames))}
        if store.has_clean:
            found["clean"] = _image(store.read_clean(frames))
        if store.has_masks:
            found["mask"] = torch.from_numpy(store.read_masks(frames))
        if store.has_cameras:
            c2w, intrinsics = store.cameras(frames)
            found |= {"c2w": torch.from_numpy(c2w).float(), "intrinsics": torch.from_numpy(intrinsics).float()}
        return found


def _image(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 255


def open_frames(store: str | os.PathLike[str], split: str | None = None) -> FrameDataset:
    """A frame store as a torch data set.

    Args:
        store: the manifest of a split, `results/NAME/frames/SPLIT.json`; or the folder of a run, with `split`.
        split: name of the split, with a run's folder.

    Raises:
        ValueError: no store, an unfinished or damaged one.
    """
    path = Path(store)
    if (path / "frames").is_dir() and not (path / "zarr.json").is_file():  # a part has an array of that name
        splits = sorted(one.stem for one in (path / "frames").glob("*.json") if "." not in one.stem)
        if split not in splits:
            raise ValueError(f"{path} is a run; name one of its splits: {', '.join(splits) or 'there are none yet'}")
        path = path / "frames" / f"{split}.json"
    elif split is not None:
        raise ValueError(f"{path} is no folder of a run; split={split!r} names a split of one")
    return FrameDataset(FrameStore(path))
