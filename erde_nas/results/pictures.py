"""The test images that a report shows as examples -> small pictures, as data URIs."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from erde_nas.data.dataset import Split
from erde_nas.report_data.point import Point

WHOLE = 32  # pixels: images up to this size are kept as they are
SMALL = 48  # pixels: the size of the others
MOST = 500_000  # characters of all pictures together


def pictures_of(test: Split, points: Sequence[Point]) -> dict[str, str]:
    """Pictures of the examples of all offered points, by their place in `test`; as many as have room, those that most
    points have as an example first."""
    counts: dict[int, int] = {}
    for point in points:
        for examples in point.answers.examples if point.answers and point.offered else ():
            for place, _, _ in examples:
                counts[place] = counts.get(place, 0) + 1
    found, room = dict[str, str](), MOST
    for place in sorted(counts, key=lambda place: (-counts[place], place)):
        picture = _picture(test.images[place])
        room -= len(picture)
        if room < 0:
            break
        found[str(place)] = picture
    return found


def _picture(image: np.ndarray) -> str:
    """Pixels (channels, height, width) uint8 as a data URI; an alpha channel is dropped."""
    pixels = image[0] if len(image) < 3 else image[:3].transpose(1, 2, 0)
    picture, data = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if max(picture.size) <= WHOLE:
        picture.save(data, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    picture.thumbnail((SMALL, SMALL))
    picture.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
