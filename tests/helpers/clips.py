"""Small videos for tests, written with PyAV: frame i is grey of value 8·i with a red upper left quarter."""

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

CODECS = {".mp4": "libx264", ".mov": "mpeg4", ".webm": "libvpx-vp9"}
RED = (230, 20, 20)


def frame(number: int, size: tuple[int, int] = (64, 32)) -> np.ndarray:
    width, height = size
    image = np.full((height, width, 3), 8 * number, np.uint8)
    image[: height // 2, : width // 2] = RED
    return image


def photos(folder: Path, names: list[str], *, size: tuple[int, int] = (24, 16), first: int = 0) -> Path:
    """A folder of pictures: frames `first`, `first` + 1, … under these names."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names, start=first):
        Image.fromarray(frame(number, size)).save(folder / name)
    return folder


def files(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder, by path."""
    found = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def write_clip(
    path: Path,
    frames: int = 20,
    *,
    rate: int = 10,
    size: tuple[int, int] = (64, 32),
    turn: int = 0,
    mirrored: bool = False,
    aspect: int = 1,
    noise: bool = False,
    options: dict[str, str] | None = None,
    coding: dict[str, str] | None = None,
) -> Path:
    random = np.random.default_rng(0)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(CODECS[path.suffix], rate=rate, options=coding or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if aspect != 1:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        if turn or mirrored:
            stream.set_display_rotation(turn, hflip=mirrored)
        for number in range(frames):
            image = random.integers(0, 256, (size[1], size[0], 3), np.uint8) if noise else frame(number, size)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_film(path: Path, times: list[float], *, last: float | None = None, sound: float = 0.0) -> Path:
    """Noise at these times in seconds, the last frame standing for `last` seconds, with `sound` seconds of silence."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix in (".mp4", ".mov") else {}) as film:
        stream = film.add_stream(CODECS[path.suffix], rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        silence = film.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000) if sound else None
        packets = []
        for time in times:
            image = av.VideoFrame.from_ndarray(random.integers(0, 256, (32, 64, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = round(1000 * time), Fraction(1, 1000)
            packets += stream.encode(image)
        packets += stream.encode()
        if last is not None:
            packets[-1].duration = round(1000 * last)
        if silence is not None:
            for start in range(0, int(48000 * sound), 960):
                samples = av.AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), format="fltp", layout="stereo")
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                packets += silence.encode(samples)
            packets += silence.encode()
        film.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def write_sound(path: Path, *, empty_video: bool = False) -> Path:
    with av.open(str(path), "w") as container:
        if empty_video:
            picture = container.add_stream("mpeg4", rate=10)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        stream = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return path


def truncated(path: Path, share: float = 0.5) -> Path:
    payload = path.read_bytes()
    path.write_bytes(payload[: int(len(payload) * share)])
    return path
