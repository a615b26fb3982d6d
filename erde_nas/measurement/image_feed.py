"""A classifier of other makes -> how images are fed to it. What its file leaves open is tried in ONNX Runtime here.

Whatever plain ONNX Runtime runs with one input is taken as it is. Refused are several inputs, inputs that are no
pixels, and what ONNX Runtime itself refuses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isqrt, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from erde_nas.device.agent.refusal import short
from erde_nas.device.runtimes.feed import Feed
from erde_nas.device.runtimes.onnxruntime import FATAL, as_foreign, open_session
from erde_nas.errors import UserError

if TYPE_CHECKING:
    import onnxruntime

CHANNELS = (3, 1, 4, 2)  # of images, in the order in which they are tried
SIZES = (224, 256, 299, 192, 160, 128, 96, 64, 48, 32, 28, 24, 16, 8)  # where a file leaves them open, likewise
KINDS = {"float": "float32", "double": "float64"}
NUMBERS = {"float16", "float32", "float64", "bool", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}
NCHW, NHWC = (0, 1, 2, 3), (0, 2, 3, 1)
FREE = -1
Dims = Sequence[int | None]  # None: open
Shape = tuple[int, ...]
Size = tuple[int, int]
Session: TypeAlias = "onnxruntime.InferenceSession"


@dataclass(frozen=True)
class ImageFeed:
    """How a file takes images of `image_shape` (channels, h, w). `open_size`: that is our choice, not the file's."""

    feed: Feed
    image_shape: Shape
    open_size: bool
    remarks: tuple[str, ...]


def find_image_feed(file: Path, name: str, size: Size | None) -> ImageFeed:
    """Find images that the file runs on, of `size` (h, w) where it leaves that open; errors call it `name`.

    Raises UserError where ONNX Runtime refuses the file, or there are none.
    """
    try:
        session = open_session(str(file), threads=1, device="cpu", severity=FATAL)
    except Exception as error:  # whatever ONNX Runtime raises
        raise UserError(f"{name}: {short(error)}") from error
    source, kind, dims = _image_input(session, name)
    refusals: list[str] = []
    for order, shape, batch, image in _candidates(dims, size):
        feed = Feed(source, kind, order, shape, batch)
        try:
            outputs = _try(session, feed, image, batch or 1)
        except Exception as error:
            refusals.append(short(error))
            continue
        if batch is None and not _takes_several(session, feed, image, outputs):
            feed = replace(feed, batch=1)
        open_size = _leaves_size_open(dims, order)
        return ImageFeed(feed, image, open_size, tuple(_remarks(session, feed, image, open_size, outputs)))
    raise UserError(
        f"{name}: ONNX Runtime runs it on no images that its input '{source}' {_said(dims)} {kind} could take: "
        f"{refusals[0]}"
    )


def _image_input(session: Session, name: str) -> tuple[str, str, list[int | None]]:
    """Name, numpy's type and dimensions of the one input. Raises UserError for others."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        found = ", ".join(f"'{value.name}' {value.type} {value.shape}" for value in inputs) or "none"
        raise UserError(
            f"{name}: it must have one input, the images, but has {len(inputs)}: {found}; export it with the images "
            "alone, or with a default for every other input (an initializer of the same name)"
        )
    (image,) = inputs
    element = image.type.removeprefix("tensor(").removesuffix(")")
    kind = KINDS.get(element, element)
    if kind not in NUMBERS or len(image.shape) > 4:
        raise UserError(
            f"{name}: its input '{image.name}' must be pixels, as (batch, channels, height, width), (batch, height, "
            f"width, channels) or flattened, but is {image.type} {image.shape}; only classifiers of images are measured"
        )
    return image.name, kind, [size if isinstance(size, int) and size > 0 else None for size in image.shape]


def _candidates(dims: Dims, size: Size | None) -> Iterator[tuple[Shape, Shape, int | None, Shape]]:
    """What the input may take, the likeliest first: the order of an image's axes, the shape of a call, the images in
    it (None: any number), and the shape (channels, h, w) of one."""
    batch = dims[0] if dims else None
    free = batch or FREE
    if len(dims) in (0, 4):
        rest = list(dims[1:]) or [None] * 3
        for order in (NHWC, NCHW) if _channels_last(rest) else (NCHW, NHWC):
            c, h, w = rest if order is NCHW else (rest[2], *rest[:2])
            for image in _images(c, h, w, size):
                yield order, (free, *((0, *image)[axis] for axis in order[1:])), batch, image
    elif len(dims) == 3:
        first, second, third = dims
        if third in CHANNELS and (first is None or first > max(CHANNELS)):
            for c, h, w in _images(third, first, second, size):
                yield NHWC, (h, w, c), 1, (c, h, w)
        if first in CHANNELS[:1] + CHANNELS[2:]:
            yield from ((NCHW, image, 1, image) for image in _images(first, second, third, size))
        yield from ((NCHW, (free, *image[1:]), batch, image) for image in _images(1, second, third, size))
    else:
        if len(dims) == 2 and batch == dims[1] and batch and batch > max(CHANNELS):
            yield NCHW, (batch, batch), 1, (1, batch, batch)
        images = _images(None, None, None, size) if dims[-1] is None else iter([_square(dims[-1])])
        for image in images:
            if len(dims) == 1:
                yield NCHW, (prod(image),), 1, image
            else:
                yield NCHW, (free, prod(image)), batch, image


def _leaves_size_open(dims: Dims, order: Shape) -> bool:
    if len(dims) == 4:
        return any(size is None for size, axis in zip(dims, order, strict=True) if axis > 1)
    return not dims or dims[-1] is None or None in dims[1:]


def _images(c: int | None, h: int | None, w: int | None, size: Size | None) -> Iterator[Shape]:
    """Shapes (channels, h, w) with what is open filled in."""
    sizes = [(h or side[0], w or side[1]) for side in ([size] if size else [(h or w or s, w or h or s) for s in SIZES])]
    yield from ((count, *sides) for count, sides in product([c] if c else CHANNELS, dict.fromkeys(sizes)))


def _channels_last(rest: Dims) -> bool:
    first, second, third = rest
    return third in CHANNELS and second != third and (first not in CHANNELS or first == second)


def _square(values: int) -> Shape:
    """The image (channels, h, w) of so many values: a square one, else one row."""
    for channels in (1, 3, 2):
        side = isqrt(values // channels)
        if channels * side * side == values:
            return channels, side, side
    return 1, 1, values


def _try(session: Session, feed: Feed, image: Shape, count: int) -> Sequence[Any]:
    """The outputs of one call with so many images of noise."""
    model = as_foreign(session, feed)
    noise = np.random.Generator(np.random.Philox(0)).integers(0, 256, (count, *image), dtype=np.uint8)
    (outputs,), _ = model.run(model.fed(noise), np.empty(0, np.float32))
    return list(outputs)


def _takes_several(session: Session, feed: Feed, image: Shape, outputs: Sequence[Any]) -> bool:
    """Whether two images in one call give twice the answers; a batch may be declared free and yet be fixed inside."""
    try:
        twice = _try(session, feed, image, 2)
    except Exception:  # whatever ONNX Runtime raises
        return False
    return all(np.ndim(one) > 0 and len(two) == 2 * len(one) for one, two in zip(outputs, twice, strict=True))


def _remarks(session: Session, feed: Feed, image: Shape, open_size: bool, outputs: Sequence[Any]) -> Iterator[str]:
    """What was assumed."""
    values = "pixels from 0 to 1, not normalised" if np.dtype(feed.kind).kind == "f" else "pixels as they are"
    yield f"its input '{feed.name}' gets {feed.kind} {_said(feed.shape)}, {values}"
    if open_size:
        yield f"it leaves the size of its images open: taken as {image[1]}x{image[2]}, --size gives another"
    if not any(_is_scores(x, feed.batch or 1) for x in outputs):
        found = ", ".join(
            f"'{o.name}' {list(np.shape(x))}" for o, x in zip(session.get_outputs(), outputs, strict=True)
        )
        yield f"none of its outputs looks like scores of classes, {found}: it is timed all the same"


def _is_scores(output: Any, batch: int) -> bool:
    """One label or one vector per image, or sklearn's list of dictionaries."""
    if isinstance(output, list):
        return bool(output) and isinstance(output[0], dict)
    if not isinstance(output, np.ndarray):
        return False
    inner = output.shape[1:] if output.ndim and len(output) == batch else output.shape
    return sum(size != 1 for size in inner) <= 1


def _said(dims: Sequence[int | None]) -> str:
    return f"({', '.join('n' if size in (None, FREE) else str(size) for size in dims)})"
