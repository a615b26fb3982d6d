"""Classify images with the student in this folder, which answers early where it is sure.

    python run.py IMAGE... | FOLDER [--batch N] [--budget-ms X] [--profile NAME] [--resize] [--json]

Needs Python 3.10, numpy and onnxruntime. Image files are read with Pillow, exactly as in training. Where Pillow is not
installed, plain PNG files are decoded here, to the same pixels; anything else is refused. Arrays come as .npy files,
uint8. `student.json`, beside this file, says what the student is; its fields and this program are
explained in erde-nas's docs/deploy.md. Exit codes: 0 done, 2 a mistake in what was given, with one line that says what.

This one file is the whole runner, so that it can be copied to a device: that is why it is longer than others.
"""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports to its maker, from the moment it is loaded

if __name__ == "__main__":  # Python would look there for modules first, and photos may lie beside a random.py
    _DATA = (os.path.dirname(os.path.realpath(__file__)), os.path.realpath(os.curdir))
    sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) not in _DATA]

import argparse
import hashlib
import io
import json
import platform
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

# Of all images that Pillow reads by itself, but for those of drawings (.eps, .wmf) and of other data (.h5).
SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fit", ".fits", ".flc",
    ".fli", ".ftc", ".ftu", ".gbr", ".gif", ".icb", ".icns", ".ico", ".im", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".msp", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".pxr", ".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm",
    ".xpm",
})  # fmt: skip
ARRAY = ".npy"
EMPTY, READ_ALREADY = "empty folders", "linked folders that are read already"  # reasons why folders are left out
CIRCLE, OTHER_NAMES = "links in a circle", "no images by their names"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PRECISE = "session.x64quantprecision"  # x86 without VNNI then adds int8 products without loss, and more slowly
SERIOUS = 3  # ONNX Runtime's log severity "error": it warns about the thresholds' default otherwise
MAX_PIXELS = 64_000_000  # 8000 x 8000, for which decoding takes 0.8 GB: a file of 3 MB may hold a thousand times that
PNG = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by PNG's colour type: gray, RGB, palette, gray and RGB with alpha


class RunError(Exception):
    """What was given cannot be used; the message is one line that says why and what to do."""


# ---------------------------------------------------------------------------------------------------- images


def find_images(given: Sequence[Path], say: Callable[[str], None] = lambda text: None) -> list[Path]:
    """The files given, and for a folder the images and arrays below it, sorted; `say` hears what is left out there.

    Raises RunError where there are none.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            files, left_out = walk(path, SUFFIXES | {ARRAY})
            if not files:
                raise RunError(f"{path} holds no images; give image files or a folder with some")
            if left_out:
                say(f"{path}: {left_out_text(left_out, path)}")
            found += files
        elif path.is_file():
            found.append(path)
        else:
            raise RunError(f"{path} does not exist; give image files or a folder with some")
    return found


def walk(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> tuple[list[Path], dict[str, list[Path]]]:
    """The image files below a folder, sorted, and what is left out, by the reason.

    Links are followed, and no folder is read twice: not what links back, nor what two links lead to. Raises RunError.
    """
    if not folder.exists():
        raise RunError(f"{folder} does not exist; give a folder of images")
    images: list[Path] = []
    left_out: dict[str, list[Path]] = {}
    seen: set[tuple[int, int]] = set()
    folders, links = [folder], list[Path]()
    while folders or links:
        links.sort(reverse=True)
        place = folders.pop() if folders else links.pop()  # what lies here goes before what is linked
        try:
            status, entries = place.stat(), sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise RunError(f"{place} cannot be read ({error.strerror}); make it readable or leave it away") from error
        if (status.st_dev, status.st_ino) in seen:
            left_out.setdefault(READ_ALREADY, []).append(place)
            continue
        seen.add((status.st_dev, status.st_ino))
        if not entries:
            left_out.setdefault(EMPTY, []).append(place)
        for entry in entries:
            path, link = place / entry.name, entry.is_symlink()
            if is_hidden(entry.name):
                left_out.setdefault("hidden", []).append(path)
            elif link and os.path.isdir(path) and place.resolve().is_relative_to(path.resolve()):
                left_out.setdefault(CIRCLE, []).append(path)
            elif os.path.isdir(path) if link else entry.is_dir():  # a link to itself is an error for entry alone
                (links if link else folders).append(path)
            elif path.suffix.lower() in suffixes and (os.path.isfile(path) if link else entry.is_file()):
                images.append(path)
            else:
                broken = link and not os.path.exists(path)
                left_out.setdefault("links to nothing" if broken else OTHER_NAMES, []).append(path)
    return sorted(images), left_out


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems leave beside the user's own."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def left_out_text(left_out: Mapping[str, Sequence[Path]], root: Path) -> str:
    """One line that counts and names what was left out: 'left out: hidden: 3 (.a, .b, .c)'."""

    def kinds(paths: Sequence[Path]) -> str:
        counts = Counter(plain(path.suffix.lower()) or "without suffix" for path in paths)
        return "".join(f"{count} {kind}, " for kind, count in counts.most_common(4)).removesuffix(", ") + ": "

    return "left out: " + ", ".join(
        f"{why}: {len(paths)} ({kinds(paths) if why == OTHER_NAMES and len(paths) > 3 else ''}{names(paths, root)})"
        for why, paths in left_out.items()
    )


def names(paths: Sequence[Path], root: Path, most: int = 3) -> str:
    """The first few of them below `root`: 'a/1.txt, a/2.txt and 7 more'."""
    shown = ", ".join(plain(str(path.relative_to(root))) for path in sorted(paths)[:most])
    return shown + (f" and {len(paths) - most} more" if len(paths) > most else "")


def plain(text: str) -> str:
    """The same without what would break a line or an encoding: control characters and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


Size = int | Sequence[int]  # of images: a side of square ones, or (height, width)


def sides(size: Size) -> tuple[int, int]:
    """(height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def read_image(path: Path | str, channels: int, size: Size, resize: bool = False) -> np.ndarray:
    """One image as (channels, height, width) uint8, as in training (see `decode`); with `resize` scaled if it must be.

    Raises RunError for a file that cannot be used, or is of another size and `resize` is not wanted.
    """
    path = Path(path)
    if path.suffix.lower() == ARRAY:
        return _read_array(path, channels, sides(size))
    return (decode if _has_pillow() else _decode_without_pillow)(path, channels, sides(size), resize)


def _has_pillow() -> bool:
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def decode(path: Path, channels: int, size: tuple[int, int] | None = None, resize: bool = True) -> np.ndarray:
    """An image file -> (channels, h, w) uint8, through Pillow. Training, `erde-nas predict` and run.py all read so.

    Upright, as its metadata say; the first of several pictures. 1 channel: gray by ITU-R 601, 2: gray and alpha,
    3: RGB, 4: RGB and alpha; where alpha is not wanted it is dropped. With `size` (height, width) and `resize` it is
    scaled to that (bilinear, each channel by itself, nothing is cropped). Raises RunError for what cannot be read, or
    is of another size and not to be scaled.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            if file.width * file.height > MAX_PIXELS:
                raise RunError(
                    f"{plain(str(path))}: is {file.width}x{file.height}, and at most {MAX_PIXELS:,} pixels are "
                    "decoded; scale it down first"
                )
            if size is not None and not resize and file.size != size[::-1]:
                raise _other_size(path, file.size[::-1], size)
            if file.mode.startswith(("I", "F")):
                raise RunError(
                    f"{plain(str(path))}: expected 8 bits a channel, but got Pillow mode {file.mode}; convert it first"
                )
            image = ImageOps.exif_transpose(file)
            if channels in (2, 4) and not has_alpha(image):
                raise _no_alpha(path, channels)
            if channels == 2:
                image = image.convert("RGBA")
                bands = [image.convert("L"), image.getchannel("A")]
            elif channels == 4:
                bands = list(image.convert("RGBA").split())
            else:
                bands = [image.convert("L" if channels == 1 else "RGB")]
            if size is not None:
                bands = [band.resize(size[::-1], Image.Resampling.BILINEAR) for band in bands]
            pixels = np.stack([np.asarray(band, np.uint8) for band in bands])  # (1, h, w, 3) for RGB, else (c, h, w)
    except RunError:
        raise
    except Exception as error:  # its readers raise all kinds where a file is damaged
        if isinstance(error, OSError) and error.strerror:
            raise _not_opened(path, error) from error
        reason = plain(str(error)) or type(error).__name__
        raise RunError(f"{plain(str(path))}: cannot be read as an image ({reason}); replace or remove it") from error
    return np.ascontiguousarray(pixels[0].transpose(2, 0, 1)) if channels == 3 else pixels


def _not_opened(path: Path, error: OSError) -> RunError:
    return RunError(f"{plain(str(path))}: cannot be read ({error.strerror}); make it readable or leave it away")


def has_alpha(image: Any) -> bool:
    """Whether a picture of Pillow's says what of it is transparent."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _no_alpha(path: Path, channels: int) -> RunError:
    kind = {2: "gray and alpha", 4: "red, green, blue and alpha"}[channels]
    return RunError(
        f"{plain(str(path))} has no alpha channel, but {channels} channels are wanted: {kind}; give files "
        "that have them"
    )


def _other_size(path: Path, shape: Sequence[int], size: tuple[int, int]) -> RunError:
    wanted = f"{size[1]}x{size[0]}"
    return RunError(
        f"{plain(str(path))} is {shape[1]}x{shape[0]}, but the student takes {wanted}; give --resize to scale it"
    )


def _read_array(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    """(h, w), (h, w, channels) or (channels, h, w) uint8 in a .npy file -> (channels, h, w)."""
    try:  # mapped, so that no more is taken of it than the file holds
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        held = isinstance(pixels, np.ndarray)  # not a file of several
    except Exception as error:  # numpy evaluates the header as Python's literals, and raises all kinds
        reason = plain((str(error).splitlines() or [""])[0]) or type(error).__name__
        raise RunError(f"{path}: cannot be read as an array ({reason}); write it with numpy.save") from error
    if not held:
        raise RunError(f"{path}: cannot be read as an array (it holds several); write it with numpy.save")
    wanted = (channels, *size)
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif pixels.shape == (*size, channels) and pixels.shape != wanted:
        pixels = pixels.transpose(2, 0, 1)
    if pixels.shape != wanted or pixels.dtype != np.uint8:
        raise RunError(
            f"{path} is {pixels.dtype} {pixels.shape}, but the student takes uint8 {wanted}: channels, rows, columns"
        )
    return np.ascontiguousarray(pixels)


def _decode_without_pillow(path: Path, channels: int, size: tuple[int, int], resize: bool) -> np.ndarray:
    """The same as `decode` for plain PNG files of the right size. Raises RunError for all others."""
    try:
        data = path.read_bytes()
        pixels = _decode_png(data, size) if data.startswith(PNG) else None
    except _OtherSize as error:
        if resize:
            raise _needs_pillow(path, "--resize") from None
        raise _other_size(path, error.shape, size) from None
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise RunError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error
    except OSError as error:
        raise _not_opened(path, error) from error
    if pixels is None:
        raise _needs_pillow(path, "this format")
    samples = pixels.shape[2]
    if channels in (2, 4) and samples in (1, 3):
        raise _needs_pillow(path, "this format") if _may_be_transparent(data) else _no_alpha(path, channels)
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if samples in (2, 4) else (pixels, pixels[..., :0])
    if channels in (1, 2) and samples > 2:
        weighted = colour.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
        colour = ((weighted + 32768) >> 16).astype(np.uint8)[..., None]
    elif channels in (3, 4) and samples < 3:
        colour = np.repeat(colour, 3, axis=2)
    pixels = np.concatenate([colour, alpha], axis=2) if channels in (2, 4) else colour
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _may_be_transparent(data: bytes) -> bool:
    return any(kind == b"tRNS" for kind, _ in _chunks(data))


def _needs_pillow(path: Path, what: str) -> RunError:
    return RunError(f"{plain(str(path))}: {what} needs Pillow; `pip install pillow`, or give 8-bit PNG files")


class _OtherSize(Exception):
    """Found in the header, so that nothing is decoded for it. `shape` is (height, width)."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__(shape)
        self.shape = shape


def _decode_png(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """The samples of a PNG file, (h, w, samples) uint8 (W3C PNG, third edition): gray, RGB, either with alpha.

    None where Pillow is needed: for 16 bits a channel, interlacing, animations, palettes with holes, and whatever may
    say that the picture is to be turned. Raises _OtherSize, and ValueError or zlib.error for a damaged file.
    """
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR":
        raise ValueError("a PNG file without a header")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if width * height > MAX_PIXELS or not width * height:
        raise ValueError(f"{width}x{height} pixels")
    if (height, width) != size:
        raise _OtherSize((height, width))
    if interlaced or bits == 16 or any(kind == b"acTL" or _may_turn(kind, body) for kind, body in chunks):
        return None
    if colour not in SAMPLES or bits not in (1, 2, 4, 8):
        raise ValueError(f"colour type {colour} with {bits} bits")
    step = SAMPLES[colour]  # bytes from a sample to the same one of the pixel before, where samples have 8 bits
    stride = -(-width * step * bits // 8)
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"), height * (stride + 1))
    if len(raw) < height * (stride + 1):
        raise ValueError("pixels are missing")
    samples = _unfilter(raw, height, stride, step)
    if bits < 8:
        apart = np.unpackbits(samples, axis=1).reshape(height, -1, bits)
        samples = (apart @ (1 << np.arange(bits)[::-1])).astype(np.uint8)[:, :width]
    if colour == 3:
        palette = np.frombuffer(dict(chunks).get(b"PLTE", b""), np.uint8).reshape(-1, 3)
        return palette[samples] if samples.max() < len(palette) else None
    return samples.reshape(height, width, step) if bits == 8 else (samples * (255 // (2**bits - 1)))[..., None]


def _may_turn(kind: bytes, body: bytes) -> bool:
    """Whether a chunk may hold an orientation: EXIF, or XMP, or a text that some programs keep either in."""
    keyword = body.partition(b"\0")[0].lower()
    return kind == b"eXIf" or (kind in (b"tEXt", b"zTXt", b"iTXt") and (b"exif" in keyword or b"xmp" in keyword))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of every chunk before IEND. Raises ValueError where one is damaged."""
    at = len(PNG)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"IEND":
            return
        if len(body) < length or struct.unpack_from(">I", data, at + 8 + length)[0] != zlib.crc32(kind + body):
            raise ValueError(f"its chunk {kind.decode('latin-1')} is damaged")
        yield kind, body
        at += 12 + length


def _unfilter(raw: bytes, height: int, stride: int, step: int) -> np.ndarray:
    """Filtered lines -> bytes (height, stride); each line begins with the number of its filter."""
    lines = np.frombuffer(raw, np.uint8).reshape(height, stride + 1)
    out = np.zeros((height + 1, stride), np.uint8)  # with an empty line above the first
    for y, (kind, line) in enumerate(zip(lines[:, 0], lines[:, 1:], strict=True)):
        if kind == 0:
            out[y + 1] = line
        elif kind == 1:
            out[y + 1] = np.cumsum(line.reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)
        elif kind == 2:
            out[y + 1] = line + out[y]
        elif kind in (3, 4):
            out[y + 1] = np.frombuffer(_predicted(int(kind), line.tobytes(), out[y].tobytes(), step), np.uint8)
        else:
            raise ValueError(f"filter {kind}")
    return out[1:]


def _predicted(kind: int, line: bytes, above: bytes, step: int) -> bytearray:
    """One line of filter 3 (average) or 4 (Paeth), where a byte depends on the one before it."""
    done = bytearray(len(line))
    for i, value in enumerate(line):
        left, corner = (done[i - step], above[i - step]) if i >= step else (0, 0)
        up = above[i]
        if kind == 3:
            guess = (left + up) >> 1
        else:
            along, down, across = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            guess = left if along <= down and along <= across else up if down <= across else corner
        done[i] = (value + guess) & 255
    return done


# --------------------------------------------------------------------------------------------------- student


@dataclass(frozen=True)
class Student:
    """What `student.json` says. A point of `trade_offs` names a model, its thresholds and what they give."""

    folder: Path
    classes: tuple[str, ...]
    channels: int
    size: Size
    default: dict[str, Any]
    trade_offs: tuple[dict[str, Any], ...]
    profiles: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    sha256: dict[str, str]

    def read(self, name: str) -> bytes:
        """A file of the bundle. Raises RunError where it is missing or is another one."""
        path = self.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise RunError(f"{plain(name)} is no file of the bundle; export the student again")
        if not path.is_file():
            raise RunError(f"{path} is missing; export the student again")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256.get(name):
            raise RunError(f"{path} is not the file that student.json describes; export the student again")
        return data


def load_student(folder: Path) -> Student:
    """The student in a bundle. Raises RunError where there is none."""
    path = folder / "student.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("schema", 1) != 1:
            raise RunError(f"{path} has schema {data['schema']}, but this run.py reads 1; take the run.py beside it")
        _check(data, DESCRIBED, "")
        shape = data["input"]
        _check_size(shape.get("size"))
        return Student(
            folder=folder,
            classes=tuple(data["classes"]),
            channels=shape["channels"],
            size=shape["size"],
            default=data["default"],
            trade_offs=tuple(data["trade_offs"]),
            profiles=data["profiles"],
            models=data["models"],
            sha256={name: entry["sha256"] for name, entry in data["files"].items()},
        )
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); run.py belongs into an exported folder") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} does not describe an exported student ({error}); export it again") from error


COUNT = range(1, 65_537)
POINT = {
    "model": str,
    "thresholds": [float],
    "val_accuracy": float,
    "latency_ms": {None: {"mean": float, "source": str}},
}
DESCRIBED = {  # what is read of student.json; a key None stands for any
    "classes": [str],
    "input": {"channels": COUNT},
    "default": {"model": str, "thresholds": [float]},
    "trade_offs": [POINT],
    "profiles": {None: {"runtime": str, "device": str, "threads": COUNT}},
    "models": {None: {"segments": [str]}},
    "files": {None: {"sha256": str}},
}


def _check_size(size: Any) -> None:
    """Raises ValueError where it is neither a side nor a list of two."""
    both = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and side in COUNT for side in both):
        raise ValueError(f"input.size must be a count of pixels, or height and width, but is {plain(str(size))}")


def _check(value: Any, wanted: Any, where: str) -> None:
    """Raises ValueError, with the place, where a JSON value is not what `wanted` describes."""
    if isinstance(wanted, dict):
        right = isinstance(value, dict) and all(key is None or key in value for key in wanted)
        words = f"an object with {', '.join(map(str, filter(None, wanted)))}" if any(wanted) else "an object"
    elif isinstance(wanted, list):
        right, words = isinstance(value, list), "a list"
    elif isinstance(wanted, range):
        right, words = type(value) is int and value in wanted, f"from 1 to {wanted[-1]}"
    elif wanted is float:
        right, words = type(value) in (int, float) and abs(value) <= 1e300, "a number"
    else:
        right, words = isinstance(value, str), "a text"
    if not right:
        raise ValueError(f"{plain(where) or 'it'} must be {words}, but is {plain(repr(value))[:40]}")
    if isinstance(wanted, list):
        for number, item in enumerate(value):
            _check(item, wanted[0], f"{where}[{number}]")
    elif isinstance(wanted, dict):
        for key in value if None in wanted else wanted:
            _check(value[key], wanted.get(key, wanted.get(None)), f"{where}.{key}".lstrip("."))


def usable_profiles(student: Student) -> list[str]:
    """The profiles whose runtime and device are here, in their order."""
    providers = onnxruntime.get_available_providers()
    here = [device for device, provider in PROVIDERS.items() if provider in providers]
    return [k for k, p in student.profiles.items() if p["runtime"] == "onnxruntime" and p["device"] in here]


def choose_profile(student: Student, name: str | None) -> str:
    """The profile called `name`, or the first that can be kept here. Raises RunError without one."""
    usable = usable_profiles(student)
    if name is None and usable:
        return usable[0]
    if name in usable:
        return str(name)
    have = f"for ONNX Runtime with {', '.join(onnxruntime.get_available_providers())} it has"
    if name in student.profiles:
        wanted = student.profiles[name]
        raise RunError(
            f"profile '{name}' is for {wanted['runtime']} on {wanted['device']}, which run.py cannot keep here; {have} "
            f"{', '.join(usable) or 'none'}"
        )
    missing = "" if name is None else f" '{name}'"
    raise RunError(f"the student has no profile{missing}; {have} {', '.join(usable) or 'none'}")


def within_budget(student: Student, budget_ms: float, profile: str) -> dict[str, Any]:
    """The point with the best validation accuracy whose mean latency is within the budget, the cheapest of equal ones.

    Raises RunError where none is.
    """
    timed = [(point["latency_ms"][profile], point) for point in student.trade_offs if profile in point["latency_ms"]]
    if not timed:
        raise RunError(f"the student was not timed on '{profile}'; leave --budget-ms away, or give another --profile")
    fitting = [(latency, point) for latency, point in timed if latency["mean"] <= budget_ms]
    if not fitting:
        least, _ = min(timed, key=lambda pair: pair[0]["mean"])
        raise RunError(
            f"no operating point keeps {budget_ms:g} ms on {profile}: the cheapest takes {least['mean']:.4g} ms "
            f"({least['source']} mean); raise --budget-ms, or export a faster student"
        )
    return max(fitting, key=lambda pair: (pair[1]["val_accuracy"], -pair[0]["mean"]))[1]


# ----------------------------------------------------------------------------------------------------- model


def missing(instructions: Sequence[str]) -> str:
    """Which CPU a model is for that needs one of these instructions, if this one is not known to have any; else ""."""
    arm = platform.machine().lower() in ("aarch64", "arm64")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    here = {word for line in text.splitlines() if line.startswith(("flags", "Features")) for word in line.split()}
    if not instructions or arm or here & set(instructions):
        return ""
    return (
        f"the accuracy of its 8-bit weights holds on CPUs with one of {', '.join(instructions)}; this one is not known "
        "to have any, so that its sums are kept exact here, which is slower"
    )


def open_session(
    model: bytes, threads: int = 1, device: str = "cpu", exact: bool = False
) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime; `exact`: int8 sums lose nothing on any CPU. Raises RunError where it cannot run."""
    onnxruntime.disable_telemetry_events()  # nothing is reported of models and devices, whatever the build
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SERIOUS
    if exact:
        options.add_session_config_entry(PRECISE, "1")
    if PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise RunError(
            f"onnxruntime has no {PROVIDERS[device]} here; it has {', '.join(onnxruntime.get_available_providers())}"
        )
    try:
        return onnxruntime.InferenceSession(model, options, providers=[PROVIDERS[device]])
    except Exception as error:  # its exceptions have no common base class of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"onnxruntime {onnxruntime.__version__} cannot run the model here: {reason}") from error


def run_one(
    session: onnxruntime.InferenceSession, image: np.ndarray, thresholds: Sequence[float] | None
) -> tuple[np.ndarray, int]:
    """One image (channels, h, w) uint8 -> logits (classes,) and the exit it left at. None stands for the
    thresholds in the file."""
    feed = {"image": image[None]}
    if thresholds:
        feed["thresholds"] = np.array(thresholds, np.float32)
    try:
        logits, exit_index = session.run(["logits", "exit_index"], feed)
        return logits[0], int(exit_index[0])
    except Exception as error:  # whatever onnxruntime raises, and what it gives may have any shape
        raise _not_run(error) from error


def _not_run(error: Exception) -> RunError:
    reason = plain((str(error).splitlines() or [""])[0][:300]) or type(error).__name__
    return RunError(f"onnxruntime {onnxruntime.__version__} cannot run the model on this image: {reason}")


def run_batch(
    segments: Sequence[onnxruntime.InferenceSession], images: np.ndarray, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """A batch (n, channels, h, w) uint8 -> logits (n, classes) and exits (n,).

    Segment by segment; images whose score, which a segment gives, is below its threshold leave, and the batch shrinks
    to the rest.
    """
    levels = np.array(thresholds, np.float32)
    waiting, taken = np.arange(len(images)), np.full(len(images), len(segments) - 1)
    answers: list[tuple[np.ndarray, np.ndarray]] = []
    known = {"image": images}  # by name: what segments take, of the images that wait
    for number, session in enumerate(segments):
        found = session.run(None, {value.name: known[value.name] for value in session.get_inputs()})
        known |= zip([value.name for value in session.get_outputs()], found, strict=True)
        logits = known[f"logits{number}"]
        leaves = known[f"score{number}"] < levels[number] if number < len(levels) else np.ones(len(logits), bool)
        answers.append((waiting[leaves], logits[leaves]))
        taken[waiting[leaves]] = number
        waiting = waiting[~leaves]
        if not len(waiting):
            break
        known = {name: values[~leaves] for name, values in known.items() if len(values) == len(leaves)}
    found = np.empty((len(images), answers[0][1].shape[1]), np.float32)
    for places, logits in answers:
        found[places] = logits
    return found, taken


def entropy(logits: np.ndarray) -> np.ndarray:
    """Entropy in nats of softmax over the last axis, in the precision of `logits`."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -(np.exp(log_p) * log_p).sum(-1)


def describe(path: Path, classes: Sequence[str], logits: np.ndarray, exit_index: int) -> dict[str, Any]:
    """One image's answer: class, probability, exit, entropy (nats), and the logits (classes,) behind them."""
    if np.shape(logits) != (len(classes),):
        raise RunError(
            f"the model gives {np.shape(logits)} logits, but {len(classes)} classes are named; export it again"
        )
    shares = np.exp(logits - logits.max())
    best = int(logits.argmax())
    return {
        "image": str(path),
        "class": classes[best],
        "probability": float(shares[best] / shares.sum()),
        "exit": exit_index,
        "entropy": float(entropy(logits)),
        "logits": [float(value) for value in logits],
    }


def _image_shape(session: onnxruntime.InferenceSession) -> tuple[int, tuple[int, int]]:
    """Channels, and height and width, of the images that a model takes. Raises RunError for another model."""
    shape: Sequence[Any] = session.get_inputs()[0].shape if session.get_inputs() else ()
    if len(shape) != 4 or not all(isinstance(side, int) and side in COUNT for side in shape[1:]):
        raise RunError(f"the model takes no images of a fixed size, but {plain(str(shape))}; export it again")
    return int(shape[1]), (int(shape[2]), int(shape[3]))


def classify(
    session: onnxruntime.InferenceSession, paths: Sequence[Path], classes: Sequence[str],
    thresholds: Sequence[float] | None = None, *, resize: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Each image by itself, through the file with its control flow."""
    channels, size = _image_shape(session)
    for path in paths:
        logits, exit_index = run_one(session, read_image(path, channels, size, resize), thresholds)
        yield describe(path, classes, logits, exit_index)


def classify_batches(
    segments: Sequence[onnxruntime.InferenceSession], paths: Sequence[Path], classes: Sequence[str],
    thresholds: Sequence[float], batch: int, *, resize: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """`batch` images at a time, through the segments."""
    channels, size = _image_shape(segments[0])
    for start in range(0, len(paths), batch):
        part = paths[start : start + batch]
        images = np.stack([read_image(path, channels, size, resize) for path in part])
        try:
            logits, taken = run_batch(segments, images, thresholds)
        except Exception as error:  # as in `run_one`
            raise _not_run(error) from error
        for path, row, exit_index in zip(part, logits, taken, strict=True):
            yield describe(path, classes, row, int(exit_index))


# ----------------------------------------------------------------------------------------------- command line


def main(words: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Run the command line for the bundle in `folder` (where this file lies); returns the exit code."""
    parser = argparse.ArgumentParser(prog="run.py", description=str(__doc__).splitlines()[0])
    parser.add_argument("images", metavar="IMAGE|FOLDER", nargs="+", type=Path)
    parser.add_argument("--batch", metavar="N", type=int, help="images at a time, through the segments")
    parser.add_argument("--budget-ms", metavar="X", type=float, help="mean milliseconds that an image may take")
    parser.add_argument("--profile", metavar="NAME", help="whose latencies, threads and device count; the first if not")
    parser.add_argument("--resize", action="store_true", help="scale images of another size")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):  # no name of a class or file breaks an output that is not in UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if given.batch is not None and given.batch < 1:
            raise RunError(f"--batch must be at least 1, but got {given.batch}")
        if given.budget_ms is not None and not given.budget_ms > 0:
            raise RunError(f"--budget-ms must be a number above 0, but got {given.budget_ms:g}")
        rows = answer(load_student(folder or Path(__file__).resolve().parent), given)
        if given.json:
            print(json.dumps(list(rows), indent=1))
        else:
            for row in rows:
                print(f"{plain(row['image'])}\t{plain(row['class'])}\t{row['probability']:.3f}\texit {row['exit']}")
        sys.stdout.flush()
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads, such as `head`, has enough; Python would try again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def answer(student: Student, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The answers that the command line asks for, at the thresholds that it asks for."""
    paths = find_images(given.images, lambda text: print(f"note: {text}", file=sys.stderr))
    point, threads, device = student.default, 1, "cpu"
    if given.profile is not None or given.budget_ms is not None or usable_profiles(student):
        name = choose_profile(student, given.profile)
        threads, device = student.profiles[name]["threads"], student.profiles[name]["device"]
    if given.budget_ms is not None:
        point = within_budget(student, given.budget_ms, name)
        found = point["latency_ms"][name]
        print(
            f"{plain(point['model'])}, {point['val_accuracy']:.2%} on validation, {found['mean']:.4g} ms mean "
            f"({found['source']}) on {name}",
            file=sys.stderr,
        )
    if point["model"] not in student.models:
        raise RunError(f"student.json has no model {plain(point['model'])}; export the student again")
    model, thresholds = student.models[point["model"]], point["thresholds"]
    if lacks := missing(model.get("instructions", ())):
        print(f"{point['model']}: {lacks}", file=sys.stderr)
    if given.batch is None:
        session = open_session(student.read(point["model"]), threads, device, bool(lacks))
        return classify(session, paths, student.classes, thresholds, resize=given.resize)
    segments = [open_session(student.read(part), threads, device, bool(lacks)) for part in model["segments"]]
    return classify_batches(segments, paths, student.classes, thresholds, given.batch, resize=given.resize)


if __name__ == "__main__":
    sys.exit(main())
