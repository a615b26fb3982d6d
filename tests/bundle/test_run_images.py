"""The runner's own PNG decoder gives the pixels that training saw, which Pillow decoded; other files are refused."""

import itertools
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.images import list_images
from erde_nas.data.images import read_image as trained_on
from erde_nas.device import bundle_runner as run

pytestmark = pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # Pillow's, about the oracle
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (9, 9, 4), dtype=np.uint8)
SLOPE = np.stack(np.broadcast_arrays(np.arange(9)[:, None] * 20, np.arange(9) * 30, 90, 128), -1).astype(np.uint8)


def png(size, bits, colour, lines, *more, interlaced=0):
    """A PNG file of filtered lines, with chunks `more` before the pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced)), *more]
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def same(path, size=9):
    """The runner reads what training read, in gray and in colour, with Pillow and by its own decoder."""
    for channels in (1, 3):
        expected = trained_on(path, channels=channels)
        np.testing.assert_array_equal(run.read_image(path, channels, size), expected)
        if path.suffix == ".png" and run._decode_png(path.read_bytes(), (size, size)) is not None:
            np.testing.assert_array_equal(run._decode_without_pillow(path, channels, (size, size), False), expected)
        assert expected.shape == (channels, size, size)


@pytest.fixture
def no_pillow(monkeypatch):
    """Whatever asks for Pillow fails."""
    monkeypatch.setitem(sys.modules, "PIL", None)


@pytest.mark.parametrize("pixels", [NOISE, SLOPE], ids=["noise", "slope"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_what_pillow_wrote(mode, pixels, tmp_path):
    image = Image.fromarray(pixels, "RGBA").convert(mode)
    image.save(tmp_path / "a.png")
    same(tmp_path / "a.png")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("mode", ["gray", "palette"])
def test_few_bits_per_pixel(bits, mode, tmp_path):
    lines = b"".join(b"\0" + RNG.bytes(-(-9 * bits // 8)) for _ in range(9))
    palette = [(b"PLTE", RNG.bytes(3 * 2**bits)), (b"tRNS", RNG.bytes(2))] if mode == "palette" else []
    (tmp_path / "a.png").write_bytes(png((9, 9), bits, 3 if palette else 0, lines, *palette))
    assert run._decode_png((tmp_path / "a.png").read_bytes(), (9, 9)) is not None
    same(tmp_path / "a.png")


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("kinds", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (3, 4)])
def test_every_filter(colour, kinds, tmp_path):
    """Any bytes are a valid filtered line: Pillow is the oracle for what they mean."""
    stride = 9 * run.SAMPLES[colour]
    lines = b"".join(bytes([kind]) + RNG.bytes(stride) for kind in itertools.islice(itertools.cycle(kinds), 9))
    (tmp_path / "a.png").write_bytes(png((9, 9), 8, colour, lines))
    same(tmp_path / "a.png")


def test_gray_from_every_corner_of_the_colour_cube(tmp_path):
    levels = np.array([0, 1, 2, 127, 128, 200, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)[:484].reshape(22, 22, 3)
    Image.fromarray(cube).save(tmp_path / "a.png")
    same(tmp_path / "a.png", 22)


def test_other_formats_and_scaling_through_pillow(tmp_path):
    Image.fromarray(NOISE, "RGBA").convert("RGB").save(tmp_path / "a.bmp")
    same(tmp_path / "a.bmp")
    wide = Image.fromarray(RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8))
    for name, channels, size in itertools.product(("a.png", "a.jpg"), (1, 3), (9, (6, 10))):
        wide.save(tmp_path / name)
        expected = trained_on(tmp_path / name, channels=channels, size=run.sides(size))
        assert expected.shape == (channels, *run.sides(size))
        np.testing.assert_array_equal(run.read_image(tmp_path / name, channels, size, resize=True), expected)


def test_what_exif_turns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NOISE, "RGBA").save(tmp_path / "a.png", exif=exif)
    same(tmp_path / "a.png")
    assert not np.array_equal(run.read_image(tmp_path / "a.png", 3, 9)[0], NOISE[..., 0])


def test_png_needs_no_pillow_and_the_rest_says_so(no_pillow, tmp_path):
    lines = b"".join(b"\0" + RNG.bytes(9) for _ in range(9))
    (tmp_path / "a.png").write_bytes(png((9, 9), 8, 0, lines))
    assert run.read_image(tmp_path / "a.png", 1, 9).tobytes() == b"".join(lines[i : i + 9] for i in range(1, 90, 10))
    (tmp_path / "b.png").write_bytes(png((9, 9), 8, 0, lines, interlaced=1))
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "d.png").write_bytes(png((9, 9), 16, 0, lines))
    for name in ("b.png", "c.jpg", "d.png"):
        with pytest.raises(
            run.RunError, match=rf"{name}: this format needs Pillow; `pip install pillow`, or give 8-bit"
        ):
            run.read_image(tmp_path / name, 1, 9)
    with pytest.raises(run.RunError, match=r"a\.png: --resize needs Pillow"):
        run.read_image(tmp_path / "a.png", 1, 5, resize=True)


GOOD = png((9, 9), 8, 0, bytes(90))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "cannot identify image file"),
        (b"", "cannot identify image file"),
        (GOOD[:8], "without a header"),
        (GOOD[:30], "chunk IHDR is damaged|unpack"),
        (GOOD[:-20], "chunk IDAT is damaged|unpack"),
        (GOOD[:45] + b"?" + GOOD[46:], "chunk IDAT is damaged"),
        (png((9, 9), 8, 0, bytes(89)), "pixels are missing"),
        (png((9, 9), 8, 0, b"\7" * 90), "filter 7"),
        (png((9, 9), 8, 5, bytes(90)), "colour type 5 with 8 bits"),
        (png((9, 9), 8, 3, bytes(90), (b"PLTE", b"12")), "reshape"),
        (png((60000, 60000), 8, 0, bytes(90)), "60000x60000 pixels"),
    ],
)
def test_what_is_no_image(data, reason, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(run.RunError, match=rf"a\.png: cannot be read as an image \(.*({reason})"):
        (run._decode_without_pillow if data.startswith(run.PNG) else run.read_image)(path, 1, (9, 9), False)


def test_sixteen_bits_are_refused_as_in_training(tmp_path):
    Image.fromarray(np.arange(81, dtype=np.uint16).reshape(9, 9)).save(tmp_path / "a.png")
    with pytest.raises(run.RunError, match="expected 8 bits a channel, but got Pillow mode I"):
        run.read_image(tmp_path / "a.png", 1, 9)


def test_another_size_is_found_in_the_header(tmp_path):
    (tmp_path / "a.png").write_bytes(png((40000, 30), 8, 0, b""))
    with pytest.raises(run.RunError, match=r"a\.png is 40000x30, but the student takes 9x9; give --resize"):
        run.read_image(tmp_path / "a.png", 1, 9)


def test_folders_hold_what_training_would_find(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "sub/c.webp", ".git/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert run.find_images([tmp_path]) == list_images(tmp_path)
    assert run.find_images([tmp_path / "b.png", tmp_path / "sub"]) == [tmp_path / "b.png", tmp_path / "sub" / "c.webp"]
    (tmp_path / "e.npy").write_bytes(b"")
    heard = []
    assert run.find_images([tmp_path], heard.append) == [
        *list_images(tmp_path)[:2],
        tmp_path / "e.npy",
        tmp_path / "sub" / "c.webp",
    ]
    assert heard == [f"{tmp_path}: left out: hidden: 2 (.git, .hidden.png), no images by their names: 1 (notes.txt)"]
