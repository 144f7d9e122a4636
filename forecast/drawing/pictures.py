"""Pictures made small enough for a page."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image


def data_uris(folder: Path, files: Sequence[str], most: int) -> dict[str, str]:
    """The pictures as WebP data URIs: lossless if they are `most` bytes together, else coarser."""
    found: dict[str, bytes] = {}
    for encode in (_lossless, _lossy, _small):
        found = {file: encode(_opened(folder / file)) for file in files}
        if sum(map(len, found.values())) <= most:
            break
    return {
        file: f"data:image/webp;base64,{b64encode(content).decode()}"
        for file, content in found.items()
    }


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _lossless(picture: Image.Image) -> bytes:
    return _webp(picture, lossless=True)


def _lossy(picture: Image.Image) -> bytes:
    return _webp(picture, quality=60)


def _small(picture: Image.Image) -> bytes:
    size = (picture.width * 2 // 3, picture.height * 2 // 3)
    return _webp(picture.resize(size, Image.Resampling.LANCZOS), quality=50)


def _webp(picture: Image.Image, **options: bool | int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "WEBP", **options)
    return buffer.getvalue()
