"""A classifier of other makes, in its own file as it stands: how images become its input, and how it is run.

What is timed is the file alone. Its input is made before the clock: pixels in the type and the layout that it takes,
from 0 to 1 where that is a floating type, as bytes where it is an integer (int8: less 128). Nothing is normalised.
All of its outputs are computed. Needs numpy, where it runs.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FEED = "feed.json"  # beside the file, for `load`


@dataclass(frozen=True)
class Feed:
    """How images (n, channels, h, w) uint8 become the input of a file.

    `order` are the axes of the images in the file's layout, `shape` is that of one call, -1 where the number of images
    is free; `batch` images go into one call, any number where it is None.
    """

    name: str
    kind: str  # numpy's name of the type
    order: tuple[int, ...]
    shape: tuple[int, ...]
    batch: int | None

    def calls(self, images: np.ndarray) -> list[np.ndarray]:
        """The inputs of as many calls as the images need; the last call is filled up with its last image."""
        step = self.batch or len(images)
        chunks = [images[i : i + step] for i in range(0, len(images), step)]
        chunks[-1] = np.concatenate([chunks[-1], np.repeat(chunks[-1][-1:], step - len(chunks[-1]), axis=0)])
        return [self._values(chunk.transpose(self.order).reshape(self.shape)) for chunk in chunks]

    def call_shape(self, images: int) -> tuple[int, ...]:
        """The shape of the input of one call, where so many images are to be answered."""
        return tuple(images if size == -1 else size for size in self.shape)

    def _values(self, pixels: np.ndarray) -> np.ndarray:
        kind = np.dtype(self.kind)
        if kind.kind == "f":
            return np.ascontiguousarray((pixels / np.float32(255)).astype(kind))
        if kind == np.bool_:
            return np.ascontiguousarray(pixels > 127)
        return np.ascontiguousarray(pixels.astype(np.int16) - 128 if kind == np.int8 else pixels).astype(kind)


@dataclass(frozen=True)
class Fed:
    """Inputs, made before the clock: one a call."""

    inputs: Sequence[Any]
    exits: np.ndarray  # (n,) zeros: there is one way out


def _floats(output: Any) -> np.ndarray:
    """The floating values of an output: an array, or scikit-learn's list of dictionaries."""
    if isinstance(output, list):
        output = np.array([x for scores in output if isinstance(scores, dict) for x in scores.values()])
    return output.ravel() if isinstance(output, np.ndarray) and output.dtype.kind == "f" else np.empty(0)


@dataclass(frozen=True)
class ForeignModel:
    """A loaded file: `call` maps an input to all outputs, `own` an array to what the runtime takes best."""

    feed: Feed
    call: Callable[[Any], Sequence[Any]]
    own: Callable[[np.ndarray], Any] = lambda array: array

    def fed(self, images: np.ndarray) -> Fed:
        """What `run` takes in place of images (n, channels, h, w) uint8."""
        return Fed([self.own(array) for array in self.feed.calls(images)], np.zeros(len(images), np.int64))

    def run(self, fed: Any, thresholds: np.ndarray) -> tuple[Any, np.ndarray]:
        """What `fed` gave -> the outputs of every call, and zeros (n,)."""
        return [self.call(x) for x in fed.inputs], fed.exits

    def answers(self, images: np.ndarray) -> np.ndarray | None:
        """All floating outputs of every call in a row: (calls, values) float32. None where a call has none, or has
        another number of them than the others."""
        outputs, _ = self.run(self.fed(images), np.empty(0, np.float32))
        rows = [np.concatenate([np.empty(0, np.float32), *map(_floats, of)]).astype(np.float32) for of in outputs]
        lengths = {len(row) for row in rows}
        return np.stack(rows) if len(lengths) == 1 and lengths != {0} else None


def fed(runner: Any, images: np.ndarray) -> Any:
    """What `runner.run` takes for images."""
    return runner.fed(images) if isinstance(runner, ForeignModel) else images


def answered(runner: Any, images: np.ndarray, thresholds: np.ndarray) -> np.ndarray | None:
    """What is compared of a runner's answers: (rows, values)."""
    return runner.answers(images) if isinstance(runner, ForeignModel) else runner.run(images, thresholds)[0]


def write_feed(feed: Feed, folder: Path) -> Path:
    """FEED in the folder."""
    path = folder / FEED
    path.write_text(json.dumps(asdict(feed)))
    return path


def read_feed(files: Sequence[str]) -> Feed | None:
    """What `write_feed` wrote, where it is the last of a runtime's files."""
    path = Path(files[-1])
    if path.name != FEED:
        return None
    found = json.loads(path.read_text())
    return Feed(**{**found, "order": tuple(found["order"]), "shape": tuple(found["shape"])})
