"""The frame store: frames of a split in Zarr v3, written in parts and read one frame at a time."""
