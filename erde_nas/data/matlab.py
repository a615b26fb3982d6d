"""Arrays of whole numbers in a MATLAB file of level 5, without any other library, and with bounds.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf, "Level 5 MAT-File Format". A file is a
header of 128 bytes, then elements: a tag (type and bytes) and data, padded to eight bytes. An array is an element of
elements: flags, dimensions, name, values. Either may be compressed with zlib, which may unpack to a thousand times its
size: no more is unpacked than MOST_BYTES.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

HEADER = 128
MOST_BYTES = 500_000_000  # of a file, and unpacked of an element of it; the official ones take 225 MB at most
COMPRESSED, MATRIX = 15, 14
KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # of stored values
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # of arrays
COMPLEX = 0x08  # among an array's flags


def read_arrays(path: Path, names: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of these names, and the names of all that the file holds. Raises OSError or ValueError."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    data = memoryview(path.read_bytes())
    order = _byte_order(data)
    found: dict[str, np.ndarray] = {}
    held: list[str] = []
    for kind, content in _elements(data[HEADER:], order):
        if kind == COMPRESSED:
            kind, content = next(_elements(memoryview(_unpacked(content)), order), (0, memoryview(b"")))
        if kind != MATRIX:
            continue
        parts = _elements(content, order)
        name = _name(parts, order)
        held.append(name[0])
        if name[0] in names:
            found[name[0]] = _values(parts, *name, order)
    return found, held


def _byte_order(data: memoryview) -> str:
    mark = bytes(data[126:128])
    if mark not in (b"IM", b"MI"):
        raise ValueError("it is no MATLAB file of level 5")
    return "<" if mark == b"IM" else ">"


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each element. Raises ValueError where one ends beyond the data."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it was cut short")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element has its bytes in the tag
            kind, size, begin, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            begin = at + 8
            end = begin + size + (0 if kind == COMPRESSED else -size % 8)
        if begin + size > len(data):
            raise ValueError("it was cut short")
        yield kind, data[begin : begin + size]
        at = end


def _unpacked(content: memoryview) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if unpacker.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {MOST_BYTES} bytes")
    return data


def _name(parts: Iterator[tuple[int, memoryview]], order: str) -> tuple[str, int, tuple[int, ...]]:
    """Name, class and dimensions of an array, of which the first three parts say so."""
    try:
        (_, flags), (_, sizes), (_, name) = next(parts), next(parts), next(parts)
    except StopIteration:
        raise ValueError("an array in it was cut short") from None
    if len(flags) != 8 or len(sizes) % 4 or len(sizes) > 128:
        raise ValueError("an array in it has no flags or no dimensions")
    (flag,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    text = bytes(name).decode("latin-1")
    if flag >> 8 & COMPLEX:
        raise ValueError(f"{text!a} holds complex numbers")
    return text, flag & 0xFF, shape


def _values(
    parts: Iterator[tuple[int, memoryview]], name: str, class_: int, shape: tuple[int, ...], order: str
) -> np.ndarray:
    """The array, of its own type, in MATLAB's order of dimensions."""
    kind, content = next(parts, (0, memoryview(b"")))
    if class_ not in CLASSES or kind not in KINDS:
        raise ValueError(f"{name!a} holds no numbers")
    stored = np.dtype(order + KINDS[kind])
    if min(shape, default=0) < 0 or math.prod(shape) * stored.itemsize != len(content):
        raise ValueError(f"{name!a} is said to be {shape}, but has {len(content)} bytes of {stored.name}")
    return np.frombuffer(content, stored).astype(CLASSES[class_], copy=False).reshape(shape, order="F")
