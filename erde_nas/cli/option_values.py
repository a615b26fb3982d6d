"""Values of the command line's options: text -> checked value, or one line that says what it must be."""

import math
from collections.abc import Callable

from erde_nas.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


def whole(option: str, least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`; `option` is how messages call it."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise UserError(f"{option} must be a whole number from {least} to {most}, but got '{text:.60}'")
        return value

    return parse


def image_size(text: str) -> int | tuple[int, int]:
    """A parser of sizes of images: 128, or 160x120, which is (height, width) = (120, 160)."""
    try:
        width, height = map(int, text.lower().split("x")) if "x" in text.lower() else (int(text), int(text))
    except ValueError:
        width = height = 0
    if not (8 <= width <= 512 and 8 <= height <= 512):
        raise UserError(f"--image-size must be a number of pixels from 8 to 512, or WIDTHxHEIGHT, but got '{text:.60}'")
    return width if width == height else (height, width)


def above_zero(option: str, most: float, what: str = "a number") -> Callable[[str], float]:
    """A parser of numbers above 0, up to `most`; `what` says what they are."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= most:
            raise UserError(f"{option} must be {what} above 0 and at most {most:g}, but got '{text:.60}'")
        return value

    return parse


def device(text: str) -> str:
    """Where to train."""
    if text not in DEVICES:
        raise UserError(f"--device must be auto, cpu or cuda, but got '{text:.60}'")
    return text


def share(option: str) -> Callable[[str], float]:
    """A parser of shares, from 0 to below 1."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < 1:
            raise UserError(f"{option} must be a share from 0 to below 1 (0.01 is one point), but got '{text}'")
        return value

    return parse


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers that commas separate; None where nothing was given."""
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option} must be numbers with commas between them, but got '{text}'") from None
