"""Hostile images: whole ones of every format, damaged in their bytes, their chunks, their sizes and what comes with them."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.soak import Row, hostile
from tfinvert.decoders.image_set import ImageSet
from tfinvert.images import files as images
from tfinvert.system.errors import InputError

CASES = 6000
LIMITED = True
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "WEBP": ("L", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB"),
}
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp", "PPM": ".ppm"}
SIDES = (1, 7, 8, 9, 16, 33, 100)


def soak(scale: float = 1.0) -> list[Row]:
    """Each is read as an image in [0, 1], or refused in one line."""
    return [hostile.tried("image_files", round(CASES * scale)).row("An image is read as RGB in [0, 1], or refused")]


def prepare() -> None:
    """Loads Pillow's formats, before cases are watched."""
    Image.init()


def _random_image(rng: random.Random, mode: str) -> Image.Image:
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    values = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (height, width, 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., :2].copy().view(np.uint16)[..., 0])
    if mode == "F":
        kinds = (0.0, 1.0, 255.0, 1e38, float("nan"), float("inf"), -1.0)
        return Image.fromarray(values[..., 0].astype(np.float32) * np.float32(rng.choice(kinds)))
    if mode == "I":
        return Image.fromarray(values.view(np.int32)[..., 0])
    image = Image.fromarray(values, "RGBA") if mode in ("RGBA", "LA") else Image.fromarray(values[..., :3].copy())
    return image.convert("RGB").convert(mode) if mode in ("P", "LAB", "YCbCr", "CMYK") else image.convert(mode)


def _whole(rng: random.Random) -> tuple[str, bytes]:
    """A file as it should be, of a random kind."""
    kind = rng.choice(tuple(MODES))
    image = _random_image(rng, rng.choice(MODES[kind]))
    options: dict = {}
    exif = Image.Exif()
    if rng.random() < 0.4:
        exif[0x0112] = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65535))
        if kind in ("PNG", "JPEG", "WEBP", "TIFF"):
            options["exif"] = exif
    if rng.random() < 0.3 and kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        options["icc_profile"] = rng.randbytes(rng.choice((0, 1, 128, 3000)))
    if image.mode == "P" and kind in ("PNG", "GIF"):
        options["transparency"] = rng.choice((0, 255, rng.randbytes(rng.choice((1, 256))) if kind == "PNG" else 3))
    if kind == "TIFF":
        options["compression"] = rng.choice((None, "tiff_lzw", "tiff_deflate", "packbits"))
    if kind == "JPEG":
        options |= {"quality": rng.choice((1, 50, 95)), "progressive": rng.random() < 0.3}
    if kind in ("GIF", "PNG", "WEBP", "TIFF") and rng.random() < 0.3:
        others = [_random_image(rng, "RGB").resize(image.size) for _ in range(rng.choice((1, 2, 5)))]
        options |= {"save_all": True, "append_images": others}
    out = io.BytesIO()
    try:
        image.save(out, kind, **options)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        RuntimeError,
        struct.error,
    ):  # formats do not take every mode with every option
        out = io.BytesIO()
        image.convert("RGB").save(out, kind)
    return SUFFIXES[kind], out.getvalue()


def _bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        changed[rng.randrange(min(len(changed), rng.choice((64, 300, 10**8))))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _pieces(rng: random.Random, data: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    return rng.choice((data[:start] + data[end:], data[:end] + data[start:], data[:start] + rng.randbytes(20) + data[start:]))


def _chunks(rng: random.Random, data: bytes) -> bytes:
    """A PNG's chunks: other sizes, removed, twice, in another order, with right checksums."""
    if not data.startswith(b"\x89PNG"):
        return _bits(rng, data)
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    one = rng.randrange(len(chunks))
    kind, body = chunks[one]
    action = rng.randrange(5)
    if action == 0:
        del chunks[one]
    elif action == 1:
        chunks.insert(rng.randrange(len(chunks)), (kind, body))
    elif action == 2 and body:
        chunks[one] = kind, _bits(rng, body)
    elif action == 3:
        head = bytearray(chunks[0][1])
        head[0:8] = struct.pack(">II", rng.choice((0, 1, 8, 8000, 2**20, 2**31 - 1)), rng.choice((8, 8000, 2**20, 2**32 - 1)))
        if rng.random() < 0.4:
            head[8:10] = bytes((rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1))))
        chunks[0] = b"IHDR", bytes(head)
    else:
        text = zlib.compress(bytes(rng.choice((10, 10**7))), 9)
        kind = rng.choice((b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"tRNS", b"PLTE", b"acTL", b"fcTL"))
        chunks.insert(1, (kind, rng.choice((b"x\0\0" + text, text, b"", rng.randbytes(30)))))
    return data[:8] + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _bomb(rng: random.Random, data: bytes) -> bytes:
    """A file of some kilobytes whose image would fill the memory, or that says so."""
    kind = rng.randrange(5)
    if kind == 0:  # honest: so many zeros
        width, height = rng.choice(((8000, 8000), (8001, 8000), (13000, 13000), (30000, 30000), (65535, 65535), (64, 10**6)))
        depth, color = rng.choice(((1, 0), (8, 0), (8, 2), (16, 6), (8, 3)))
        head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
        rows = zlib.compress(bytes(min(height * (width + 1), 10**7)), 9)
        palette = _chunk(b"PLTE", bytes(768)) if color == 3 else b""
        return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + palette + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    if kind == 1:  # sizes in other formats
        sides = struct.pack("<HH", rng.choice((8000, 65535)), rng.choice((8000, 65535)))
        return b"GIF89a" + sides + data[10:] if data.startswith(b"GIF") else b"GIF89a" + sides + bytes(20)
    if kind == 2:
        sides = struct.pack("<ii", rng.choice((8000, 2**31 - 1, -8)), rng.choice((8000, 2**31 - 1, -(2**31), -8000)))
        return data[:18] + sides + data[26:] if data.startswith(b"BM") else b"BM" + bytes(16) + sides + bytes(40)
    if kind == 3:
        sides = rng.choice((b"8000 8000", b"99999 99999", b"-1 8", b"9" * 5000 + b" 8"))
        return rng.choice((b"P1", b"P4", b"P5", b"P6", b"P7", b"Pf")) + b"\n" + sides + b"\n255\n" + bytes(100)
    tags = [
        (256, 4, 1, rng.choice((8000, 2**31, 2**32 - 1))),
        (257, 4, 1, 8000),
        (258, 3, 1, 8),
        (259, 3, 1, rng.choice((1, 5, 8))),
    ]
    tags += [(262, 3, 1, 1), (273, 4, rng.choice((1, 2**30)), 8), (277, 3, 1, 1), (278, 4, 1, 8000), (279, 4, 1, 2**31)]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4)


def case(rng: random.Random, folder: Path) -> str:
    """One file, read as `--image` is, or found in a folder to train on."""
    suffix, data = _whole(rng)
    whole = rng.random() < 0.1
    if not whole:
        data = rng.choice((_bits, _bits, _cut, _pieces, _chunks, _chunks, _bomb))(rng, data)
    path = folder / f"image{rng.choice((suffix, suffix, '.png', '.jpg', '.tiff'))}"
    path.write_bytes(data)
    try:
        if not whole and rng.random() < 0.2:
            found = ImageSet([path], (24, 16)).center(0)
            assert found.shape == (24, 16, 3)
            assert found.dtype == np.uint8
            return "accepted"
        images.proportional_size(path, 24)
        image = images.load(path, (24, 16))
        assert image.shape == (1, 24, 16, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 1
        return "accepted"
    except InputError as error:
        if whole and "expected at least 8x8" not in str(error):
            raise AssertionError(f"nothing is wrong with this image ({error})") from error
        raise
    finally:
        path.unlink()
