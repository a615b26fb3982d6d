"""A recipe that goes through the whole pipeline in seconds, its finished run, and the command line in this process."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

RECIPE = """\
name: tiny
dataset: {name: digits, train_limit: 120, validation: 0.25}
views: {cached_views: 1}
teacher:
  stem: 16
  depths: [1, 1, 1]
  widths: [16, 16, 16]
  train: {epochs: 6, batch_size: 20, learning_rate: 0.05}
space:
  families: [resnet]
  stems: [8, 16]
  depths: [[1], [1, 2]]
  widths: [[16], [16, 24]]
  heads: [gap]
train: {epochs: 2, batch_size: 20, learning_rate: 0.05}
search: {searcher: nsga2, trials: 3, population: 2}
finish:
  students: 1
  cascades: false
  train: {epochs: 2, batch_size: 20, learning_rate: 0.05}
compress:
  prune: [0.5]
  train: {epochs: 2, batch_size: 20, learning_rate: 0.05}
  calibration_images: 16
"""

PROFILE = """\
name: quick
precision: int8
measure: {warmup_calls: 1, calls_per_block: 5, blocks: 3, processes: 1, stream_images: 8, allowance_s: 0}
screen: false
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Tiny:
    """The files of the tiny recipe, and the cache that its teacher is kept in."""

    recipe: Path
    profile: Path
    cache: Path

    def search(self, out: Path, *more: str) -> list[str]:
        """The command line that searches into `out`."""
        return ["search", str(self.recipe), "--profile", str(self.profile), "--out", str(out), *more]

    def variant(self, folder: Path, old: str, new: str) -> "Tiny":
        """The same with another recipe or profile in `folder`: `old` is replaced by `new`, where it stands first."""
        texts = [path.read_text() for path in (self.recipe, self.profile)]
        assert any(old in text for text in texts), old
        folder.mkdir(exist_ok=True)
        files = [folder / self.recipe.name, folder / self.profile.name]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text.replace(old, new, 1))
        return Tiny(files[0], files[1], self.cache)


def call(*words: object) -> Done:
    """Run `erde-nas WORDS` in this process, with warnings as errors as everywhere in the tests."""
    from erde_nas.cli.app import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["erde-nas", *map(str, words)])
        patch.setattr(sys, "warnoptions", ["error"])  # the command line silences them otherwise
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cli() -> Callable[..., Done]:
    """`cli("report", folder)` runs a command in this process."""
    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny recipe and a profile that measures as little as it may."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "quick.yaml").write_text(PROFILE)
    return Tiny(folder / "tiny.yaml", folder / "quick.yaml", folder / "cache")


@pytest.fixture(scope="session")
def finished(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run folder of one search, from the images to the report. Tests must leave it as it is."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
        done = call(*tiny.search(out))
    assert done.code == 0, done.err
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    yield out
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}, "a test changed the run"
