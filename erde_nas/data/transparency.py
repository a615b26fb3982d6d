"""What a user should know about the transparency of their images: it is dropped, unless the recipe keeps it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_nas.data.images import has_alpha, read_image
from erde_nas.device.bundle_runner import names
from erde_nas.errors import UserError

_HEADERS = 2000  # images whose headers are read, evenly over all
_PIXELS = 256  # of those with an alpha channel, images that are looked at
_FLAT = 8  # levels of 255 within which a channel is all one colour, whatever a lossy format adds


def about_alpha(paths: Sequence[Path], channels: int, size: tuple[int, int] | None, root: Path) -> list[str]:
    """At most one line on images that are read with so many channels.

    Raises UserError where most of them would be one flat colour each without their transparency.
    """
    if channels in (2, 4):
        return []
    seen = spread(paths, _HEADERS)
    with_alpha = [path for path in seen if has_alpha(path)]
    looked_at = spread(with_alpha, _PIXELS)
    transparent, hidden = _hidden(looked_at, size)
    if not transparent:
        return []
    scale = len(with_alpha) / len(looked_at) * len(paths) / len(seen)
    about = "" if scale == 1 else "about "
    keep = f"set dataset.channels: {2 if channels == 1 else 4} to keep the alpha channel"
    count = round(len(hidden) * scale)
    if len(hidden) * len(with_alpha) / len(looked_at) > len(seen) / 2:
        raise UserError(
            f"{root}: {about}{count} of {len(paths)} images have their shapes in transparency alone; "
            f"without it they are flat or equal ({names(hidden, root)}); {keep}, or paste the images onto a background"
        )
    return [
        f"transparency is dropped: of {len(paths)} images {about}{round(len(transparent) * scale)} are partly "
        f"transparent ({names(transparent, root)}), and {about}{count} flat or equal without it; {keep}"
    ]


def _hidden(paths: Sequence[Path], size: tuple[int, int] | None) -> tuple[list[Path], list[Path]]:
    """The images that are partly transparent, and those of them that show nothing of their own without it.

    Those are of one flat colour, or differ from another image in their alpha channel alone.
    """
    transparent, hidden = list[Path](), list[Path]()
    alike: dict[bytes, dict[bytes, list[Path]]] = {}  # by the digest of their colours, then of alpha
    for path in paths:
        pixels = read_image(path, channels=4, size=size)
        colour, alpha = pixels[:3], pixels[3:]
        if alpha.min() < 255:
            transparent.append(path)
            if _is_flat(colour) and not _is_flat(alpha):
                hidden.append(path)
            else:
                alike.setdefault(_digest(colour), {}).setdefault(_digest(alpha), []).append(path)
    for by_alpha in alike.values():
        if len(by_alpha) > 1:
            hidden += [path for group in by_alpha.values() for path in group]
    return transparent, hidden


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many of them, evenly over all."""
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int))]


def _is_flat(pixels: np.ndarray) -> bool:
    """Whether each channel of (c, h, w) has one value, or nearly so."""
    return bool((np.ptp(pixels, axis=(1, 2)) <= _FLAT).all())
