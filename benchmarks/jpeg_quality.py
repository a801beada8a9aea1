"""What a JPEG frame store loses and saves: PSNR against the prepared frames, and bytes against the lossless store.

    python benchmarks/jpeg_quality.py VIDEO [VIDEO ...]

Frames of each video, evenly spread, are resized and cropped as in the preparation, and coded as by the store.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from wildrayzer.data.frame_store.codecs import FrameCodec, JpegFrames, ZstdFrames
from wildrayzer.data.ingest.views import read_views
from wildrayzer.images.psnr import psnr

QUALITIES = (90, 95, 97, 98, 100)


def coded(frames: list[np.ndarray], codec: FrameCodec) -> tuple[np.ndarray, int]:
    """PSNR of each frame after the codec, in dB, and the bytes of all."""
    decoded, bytes_ = np.empty_like(frames[0]), 0
    quality = []
    for frame in frames:
        payload = codec.encode(frame)
        codec.decode(payload, decoded)
        pair = (torch.from_numpy(one.copy()).movedim(-1, 0) / 255 for one in (decoded, frame))
        quality.append(float(psnr(*pair)))
        bytes_ += len(payload)
    return np.array(quality), bytes_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=16, help="of each video")
    given = parser.parse_args()
    videos = [[view.image for view in read_views([path], image_size=256, frames=given.frames)] for path in given.videos]
    lossless = [coded(frames, ZstdFrames())[1] for frames in videos]
    print(f"{given.frames} frames of 256 px of each of {len(videos)} videos\n")
    print("| quality | PSNR against the frame, mean of each video, dB | lowest frame, dB | bytes, against zstd |")
    print("| --- | --- | --- | --- |")
    for quality in QUALITIES:
        found = [coded(frames, JpegFrames(quality)) for frames in videos]
        means = ", ".join(f"{values.mean():.1f}" for values, _ in found)
        shares = ", ".join(f"{size / whole:.2f}" for (_, size), whole in zip(found, lossless, strict=True))
        print(f"| {quality} | {means} | {min(values.min() for values, _ in found):.1f} | {shares} |")


if __name__ == "__main__":
    main()
