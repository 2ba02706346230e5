"""The colors of image files that are not sRGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from tfinvert import images

COLORS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
WHITE = (0.3127, 0.3290)
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def xyz(x, y):
    return np.array([x / y, 1.0, (1 - x - y) / y])


def matrix(primaries):
    """From linear RGB to XYZ as it is seen in the light of profiles, D50."""
    columns = np.stack([xyz(*primary) for primary in primaries], axis=1)
    columns = columns * np.linalg.solve(columns, xyz(*WHITE))
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ xyz(*WHITE))) @ BRADFORD
    return adapt @ columns


def profile(primaries=SRGB, gamma=2.2, space=b"RGB "):
    """An ICC profile of version 2, of three primaries and a gamma, or of grays."""

    def fixed(value):
        return struct.pack(">i", round(value * 65536))

    def curve():
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)

    def point(values):
        return b"XYZ " + bytes(4) + b"".join(map(fixed, values))

    text = b"test\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78 + 8 + (-len(text) % 4))
    parts = {b"desc": description, b"wtpt": point(D50), b"cprt": b"text" + bytes(4) + text + bytes(3)}
    if space == b"GRAY":
        parts[b"kTRC"] = curve()
    else:
        columns = matrix(primaries).T
        parts |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(point, columns), strict=True))
        parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve())
    place, table, body = 128 + 4 + 12 * len(parts), b"", b""
    for name, data in parts.items():
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02200000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + b"".join(map(fixed, D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def expected(values, primaries=SRGB, gamma=2.2):
    """The same in sRGB, worked out by its formulas, [..., 3] of 8 bits."""
    linear = (values / 255.0) ** gamma
    linear = np.clip(linear @ (np.linalg.inv(matrix(SRGB)) @ matrix(primaries)).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def stored(folder, image, icc, kind="PNG"):
    image.save(folder / "image", kind, icc_profile=icc)
    return np.asarray(images.read(folder / "image"), np.float64)


@pytest.mark.parametrize("primaries", [P3, ADOBE, (SRGB[1], SRGB[2], SRGB[0])], ids=["Display P3", "Adobe RGB", "swapped"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_other_primaries_become_srgb(primaries, kind, tmp_path):
    found = stored(tmp_path, Image.fromarray(COLORS), profile(primaries), kind)
    wanted = expected(COLORS, primaries)
    assert np.abs(found - wanted).mean() < 0.8
    assert np.abs(found - wanted).max() < 8  # in the darkest colors, where sRGB's curve is straight
    assert np.abs(COLORS - wanted).mean() > 4


def test_jpeg_webp_and_pillow_images_keep_their_profile(tmp_path):
    smooth = Image.new("RGB", (16, 16), (200, 60, 60))
    wanted = expected(np.array([200, 60, 60]), P3)
    for kind in ("JPEG", "WEBP"):
        np.testing.assert_allclose(stored(tmp_path, smooth, profile(P3), kind)[8, 8], wanted, atol=5)
    with Image.open(tmp_path / "image") as opened:
        np.testing.assert_allclose(255 * images.as_images(opened)[0, 8, 8], wanted, atol=5)


def test_opacity_and_palettes(tmp_path):
    clear = Image.fromarray(np.dstack([COLORS, np.full(COLORS.shape[:2], 255, np.uint8)]))
    opaque = stored(tmp_path, clear, profile(P3))
    np.testing.assert_array_equal(opaque, stored(tmp_path, Image.fromarray(COLORS), profile(P3)))
    palette = Image.new("RGB", (16, 16), (200, 60, 60)).quantize(4)
    np.testing.assert_allclose(stored(tmp_path, palette, profile(P3))[0, 0], expected(np.array([200, 60, 60]), P3), atol=5)
    nothing = Image.new("RGBA", (16, 16), (9, 9, 9, 0))
    np.testing.assert_array_equal(stored(tmp_path, nothing, profile(P3)), np.full((16, 16, 3), 255))


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_grays(gamma, tmp_path):
    ramp = np.tile(np.arange(16, 256, 8, dtype=np.uint8), (16, 1))
    found = stored(tmp_path, Image.fromarray(ramp), profile(gamma=gamma, space=b"GRAY"))
    wanted = expected(np.repeat(ramp[..., None], 3, axis=-1), gamma=gamma)
    np.testing.assert_allclose(found, wanted, atol=2)
    colored = stored(tmp_path, Image.fromarray(ramp), profile(gamma=gamma))  # grays with a profile for colors
    np.testing.assert_allclose(colored, wanted, atol=2)


def test_srgb_is_left_as_it_is(tmp_path, caplog):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(stored(tmp_path, Image.fromarray(COLORS), own), COLORS)
    np.testing.assert_array_equal(stored(tmp_path, Image.fromarray(COLORS), None), COLORS)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "icc", [b"no profile", profile(P3)[:200], profile(space=b"GRAY"), profile(P3).replace(b"RGB ", b"CMYK")], ids=str
)
def test_a_profile_that_cannot_be_used_is_passed_over_with_a_warning(icc, tmp_path, caplog):
    np.testing.assert_array_equal(stored(tmp_path, Image.fromarray(COLORS), icc), COLORS)
    assert "its color profile is passed over" in caplog.text
    assert str(tmp_path / "image") in caplog.text


def test_cmyk_and_lab(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 255, 0))
    assert stored(tmp_path, cmyk, None, "TIFF")[0, 0].tolist() == [0, 255, 0]
    stored(tmp_path, cmyk, profile(P3), "TIFF")  # of other colors: passed over
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLORS), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    found = stored(tmp_path, lab, None, "TIFF")
    assert np.abs(found - COLORS).mean() < 2


def test_a_real_display_p3_file_of_the_shared_inputs(shared):
    path = shared.parent / "cases" / "pictures" / "p3.png"
    with Image.open(path) as opened:
        source = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
        wanted = ImageCms.profileToProfile(opened.convert("RGB"), source, ImageCms.createProfile("sRGB"))
        before = np.asarray(opened.convert("RGB"), np.float64)
    found = np.asarray(images.read(path), np.float64)
    assert np.abs(found - np.asarray(wanted)).mean() < 1
    assert np.abs(found - before).mean() > 4


@pytest.mark.parametrize(("gamma", "plain"), [(1.0, False), (1 / 1.8, False), (0.45455, True), (0.0, True)])
def test_the_gamma_that_a_png_says_is_converted(tmp_path, gamma, plain):
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    chunk = b"gAMA" + struct.pack(">I", round(gamma * 100000))
    (tmp_path / "a.png").write_bytes(
        data[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    )
    image = images.load(tmp_path / "a.png", COLORS.shape[:2])[0]
    light = (COLORS / 255) ** (1 / gamma) if not plain else COLORS / 255
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(image, COLORS / 255 if plain else encoded, atol=0.003)
