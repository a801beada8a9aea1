"""How one frame becomes the bytes of one chunk: zstd without loss, or JPEG for training splits that ask for it.

Both are Zarr v3 codecs: `zstd` is Zarr's own, `wildrayzer.jpeg` is registered here, and each of its chunks is a
JPEG file (4:4:4) with its checksum behind it. A chunk of zeros takes no bytes, whatever the codec.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import cv2
import numpy as np
from jaxtyping import UInt8
from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]
from zarr.abc.codec import ArrayBytesCodec
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDArrayLike, NDBuffer
from zarr.registry import register_codec

JPEG = "wildrayzer.jpeg"
"""Name of the JPEG codec in Zarr's metadata."""


@dataclass(frozen=True)
class ZstdFrames:
    """Raw pixels, compressed by zstd."""

    level: int = 3
    lossless: ClassVar[bool] = True
    coding: ClassVar[str] = "zstd"
    """What decides the pixels that a coded frame stands for."""

    def encode(self, frame: UInt8[np.ndarray, "h w *c"]) -> bytes:
        """Bytes of a frame."""
        return bytes(Zstd(level=self.level, checksum=True).encode(np.ascontiguousarray(frame)))

    def decode(self, payload: bytes, out: UInt8[np.ndarray, "h w *c"]) -> None:
        """Fill `out`, contiguous, from the bytes; raises ValueError where they are no frame of its shape."""
        try:
            raw = Zstd().decode(payload)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"no zstd chunk of {out.nbytes} bytes ({error})") from None
        if len(raw) != out.nbytes:
            raise ValueError(f"no zstd chunk of {out.nbytes} bytes but of {len(raw)}")
        out.reshape(-1)[:] = np.frombuffer(raw, np.uint8)

    def zarr_options(self) -> dict[str, Any]:
        """Arguments of `create_array` that name the codec."""
        return {"compressors": ZstdCodec(level=self.level, checksum=True)}


@dataclass(frozen=True)
class JpegFrames:
    """JPEG without subsampling of the colours."""

    quality: int = 95
    checked: bool = True
    """A CRC-32C follows the file: JPEG notices no turned bit. Stores of earlier versions have none."""
    lossless: ClassVar[bool] = False

    @property
    def coding(self) -> str:
        """What decides the pixels that a coded frame stands for."""
        return f"jpeg{'+crc32c' if self.checked else ''}, quality {self.quality}"

    def encode(self, frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
        """Bytes of a frame."""
        options = [
            cv2.IMWRITE_JPEG_QUALITY, self.quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]  # fmt: skip
        coded = cv2.imencode(".jpg", frame[..., ::-1], options)[1]
        return bytes(CRC32C(location="end").encode(coded)) if self.checked else coded.tobytes()

    def decode(self, payload: bytes, out: UInt8[np.ndarray, "h w 3"]) -> None:
        """Fill `out` from the bytes; raises ValueError where they are no frame of its shape."""
        wanted = f"no JPEG of {out.shape[1]}×{out.shape[0]} pixels"
        if self.checked:
            try:
                payload = bytes(CRC32C(location="end").decode(payload))
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"{wanted} ({error})") from None
        image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None or image.shape != out.shape:
            raise ValueError(wanted)
        out[:] = image

    def zarr_options(self) -> dict[str, Any]:
        """Arguments of `create_array` that name the codec."""
        return {
            "serializer": JpegCodec(quality=self.quality),
            "compressors": Crc32cCodec() if self.checked else None,
        }


FrameCodec = ZstdFrames | JpegFrames


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """`JpegFrames` for chunks [1 h w 3] of uint8, as plain Zarr calls it; the checksum is a codec of Zarr's own."""

    quality: int = 95
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "JpegCodec":
        """From Zarr's metadata."""
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """For Zarr's metadata."""
        return {"name": JPEG, "configuration": {"quality": self.quality}}

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Not known before coding."""
        raise NotImplementedError

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        out = np.empty(chunk_spec.shape, np.uint8)
        JpegFrames(self.quality, checked=False).decode(chunk_bytes.to_bytes(), out[0])
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(cast(NDArrayLike, out))

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        payload = JpegFrames(self.quality, checked=False).encode(np.asarray(chunk_array.as_numpy_array())[0])
        return chunk_spec.prototype.buffer.from_bytes(payload)


register_codec(JPEG, JpegCodec)


def frame_codec(kind: Literal["zstd", "jpeg"], *, level: int, quality: int) -> FrameCodec:
    """The codec of a kind."""
    return JpegFrames(quality) if kind == "jpeg" else ZstdFrames(level)


def codec_of(metadata: Mapping[str, Any]) -> FrameCodec:
    """The codec of an array of a frame store, from the `codecs` of its sharding codec in Zarr's metadata.

    Raises:
        ValueError: the array is not coded as a frame store's is.
    """
    (sharding,) = metadata["codecs"]
    codecs = {codec["name"]: codec.get("configuration", {}) for codec in sharding["configuration"]["codecs"]}
    if "zstd" in codecs:
        return ZstdFrames(int(codecs["zstd"]["level"]))
    if JPEG in codecs:
        return JpegFrames(int(codecs[JPEG]["quality"]), checked="crc32c" in codecs)
    raise ValueError("is neither zstd nor JPEG")
