"""Image files as users have them, written here: turned, transparent, of many depths and formats, animated, damaged."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

SIDE = 9
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
RGB = NOISE[..., :3]
ORIENTATION = 0x0112
# What a viewer does with stored rows and columns, by EXIF's orientation (EXIF 2.32, table 4.6.4), as NumPy has it.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


def xmp(orientation: int, as_element: bool = False) -> bytes:
    inside = f"><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>"
    written = inside if as_element else f' tiff:Orientation="{orientation}"/>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description{written}</x:xmpmeta>'.encode()


def raw_profile(orientation: int) -> str:
    """The EXIF block in hexadecimal, 72 digits a line, after its name and its length, as ImageMagick writes it."""
    block = exif(orientation).tobytes()
    code = block.hex()
    lines = "\n".join(code[start : start + 72] for start in range(0, len(code), 72))
    return f"\nexif\n{len(block):8d}\n{lines}\n"


def png_text(keyword: str, text: str, how: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    if how == "iTXt":
        info.add_itxt(keyword, text)
    else:
        info.add_text(keyword, text, zip=how == "zTXt")
    return info


def turned(folder: Path, orientation: int) -> Iterator[tuple[Path, bool]]:
    """Files of RGB that say so in every way that Pillow knows, each with whether its format is lossless."""
    image = Image.fromarray(RGB)
    block = exif(orientation)
    for name, lossless, options in (
        ("exif.jpg", False, {"exif": block}),
        ("progressive.jpg", False, {"exif": block, "progressive": True}),
        ("xmp.jpg", False, {"xmp": xmp(orientation)}),
        ("exif.png", True, {"exif": block}),
        ("xmp.png", True, {"pnginfo": png_text("XML:com.adobe.xmp", xmp(orientation).decode(), "iTXt")}),
        ("xmp2.png", True, {"pnginfo": png_text("XML:com.adobe.xmp", xmp(orientation, True).decode(), "iTXt")}),
        ("raw.png", True, {"pnginfo": png_text("Raw profile type exif", raw_profile(orientation), "tEXt")}),
        ("raw-zip.png", True, {"pnginfo": png_text("Raw profile type exif", raw_profile(orientation), "zTXt")}),
        ("exif.webp", True, {"exif": block.tobytes(), "lossless": True}),
        ("xmp.webp", True, {"xmp": xmp(orientation), "lossless": True}),
        ("exif.avif", False, {"exif": block.tobytes(), "quality": 90}),
        ("tag.tif", True, {"exif": block}),
        ("lzw.tif", True, {"exif": block, "compression": "tiff_lzw"}),
    ):
        image.save(folder / name, **options)
        yield folder / name, lossless


def odd(folder: Path) -> list[Path]:
    """Files that can be read, or cannot, alike by everybody."""
    for make in (_depths, _transparent, _formats, _texts, _animated, _damaged):
        make(folder)
    return sorted(folder.iterdir())


def _depths(folder: Path) -> None:
    rgba = Image.fromarray(NOISE)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        rgba.convert(mode).save(folder / f"mode-{mode}.png")
        rgba.convert(mode).save(folder / f"mode-{mode}.tif")
    for mode in ("CMYK", "YCbCr", "LAB"):
        converted = Image.fromarray(RGB) if mode == "LAB" else Image.fromarray(RGB).convert(mode)
        if mode == "LAB":
            change = ImageCms.buildTransform(
                ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
            )
            converted = ImageCms.applyTransform(converted, change)
        converted.save(folder / f"mode-{mode}.tif")
    Image.fromarray(RGB).convert("CMYK").save(folder / "cmyk.jpg")
    rgba.convert("L").save(folder / "gray.jpg")
    Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257).save(folder / "gray16.png")
    Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257).save(folder / "gray16.tif")
    Image.fromarray(NOISE[..., 0].astype(np.float32)).save(folder / "float.tif")
    (folder / "sixteen.ppm").write_bytes(b"P6 9 9 65535\n" + np.random.default_rng(1).bytes(9 * 9 * 6))


def _transparent(folder: Path) -> None:
    rgba = Image.fromarray(NOISE)
    Image.fromarray(RGB).save(folder / "key-rgb.png", transparency=tuple(int(v) for v in RGB[0, 0]))
    rgba.convert("L").save(folder / "key-gray.png", transparency=int(NOISE[0, 0, 0]))
    rgba.convert("P").save(folder / "palette-one.png", transparency=3)
    rgba.convert("P").save(folder / "palette-many.png", transparency=bytes(range(0, 250, 10)))
    rgba.quantize(16).save(folder / "palette-small.png")
    rgba.convert("P").save(folder / "palette.gif", transparency=5)
    rgba.save(folder / "alpha.webp", lossless=True)
    rgba.save(folder / "alpha.tga")
    rgba.save(folder / "alpha.ico", sizes=[(SIDE, SIDE)])


def _formats(folder: Path) -> None:
    image = Image.fromarray(RGB)
    for suffix in ("bmp", "dib", "gif", "j2k", "jp2", "jfif", "pcx", "pgm", "ppm", "qoi", "sgi", "tga", "webp", "avif"):
        image.save(folder / f"format.{suffix}", **({"format": "JPEG"} if suffix == "jfif" else {}))
    image.convert("1").save(folder / "format.xbm")
    image.save(folder / "really-a-png.jpg", format="PNG")
    image.save(folder / "really-a-jpeg.png", format="JPEG")
    image.save(folder / "pages.tif", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    image.save(folder / "pages.mpo", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(folder / "profile.png", icc_profile=icc)
    image.save(folder / "profile.jpg", icc_profile=icc)


def _texts(folder: Path) -> None:
    """Text that says much, and text that only looks as if it turned the picture."""
    image = Image.fromarray(RGB)
    for number, (keyword, text) in enumerate(
        (
            ("Comment", 'tiff:Orientation="6"'),
            ("Raw profile type APP1", raw_profile(6)),
            ("Raw profile type exif", "\nexif\n      4\nzzzz\n"),
            ("Raw profile type exif", "no profile"),
            ("exif", raw_profile(6)),
            ("xmp", xmp(6).decode()),
            ("XML:com.adobe.xmp", "<no/>"),
        )
    ):
        for how in ("tEXt", "zTXt", "iTXt"):
            image.save(folder / f"text-{number}-{how}.png", pnginfo=png_text(keyword, text, how))
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (100_000).to_bytes(4, "big"))
    image.save(folder / "gamma.png", pnginfo=info)
    late = PngImagePlugin.PngInfo()
    late.add(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"), True)
    image.save(folder / "late-exif.png", pnginfo=late)
    image.save(folder / "no-exif.png", exif=b"Exif\0\0nonsense")


def _animated(folder: Path) -> None:
    frames = [Image.fromarray(np.roll(RGB, k, 0)) for k in range(3)]
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving-still.png", save_all=True, append_images=frames[1:], default_image=True)
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], transparency=0)
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)


def _damaged(folder: Path) -> None:
    image, buffer = Image.fromarray(RGB), {}
    for suffix, kind in (
        ("png", "PNG"),
        ("jpg", "JPEG"),
        ("gif", "GIF"),
        ("webp", "WEBP"),
        ("tif", "TIFF"),
        ("bmp", "BMP"),
    ):
        written = io.BytesIO()
        image.save(written, kind)
        buffer[suffix] = written.getvalue()
        (folder / f"half.{suffix}").write_bytes(buffer[suffix][: len(buffer[suffix]) // 2])
        (folder / f"almost.{suffix}").write_bytes(buffer[suffix][:-3])
        (folder / f"more.{suffix}").write_bytes(buffer[suffix] + b"and more")
    png = buffer["png"]
    for at in range(8, len(png) - 4, 11):
        (folder / f"flipped-{at}.png").write_bytes(png[:at] + bytes([png[at] ^ 0x40]) + png[at + 1 :])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    (folder / "text.svg.png").write_text("<svg/>")
