"""Several processes want the same logits: one computes, the others wait; a killed one blocks nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np, torch
from erde_nas.data.views import Views
from erde_nas.distil.teachers import teacher_pass
from erde_nas.distil.teachers.cached_logits import cached_logits
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.recipe.images import ViewsSection
from erde_nas.data.dataset import Split

teacher_pass.BATCH = 16
calls, hangs_after = Path(sys.argv[1]), int(sys.argv[2])

class Linear(torch.nn.Module):
    def forward(self, images):
        with calls.open("a") as file:
            file.write("x")
        if hangs_after and len(calls.read_text()) > hangs_after:
            time.sleep(120)
        return [images.float().mean((2, 3)) @ torch.tensor([[1.0, 2.0]])]

images = np.random.default_rng(0).integers(0, 256, (96, 1, 8, 8)).astype(np.uint8)
views = Views(Split(images, np.arange(96) % 2), ViewsSection(flip=True), seed=0, device=torch.device("cpu"))
logits = cached_logits(Teacher(Linear(), "linear", True), views, 2, say=lambda text: print(text, flush=True))
expected = (torch.from_numpy(images).float().mean((2, 3)) @ torch.tensor([[1.0, 2.0]])).half()
assert logits.shape == (2, 96, 1, 2)
assert torch.equal(logits[0, :, 0], expected) and torch.equal(logits[1, :, 0], expected)  # a flip keeps the mean
print("done")
"""
CALLS = 1 + 2 * 96 // 16  # of one whole pass over two views, and to see the shape of an answer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program as `name`; its teacher hangs after so many calls, if any. All are ended afterwards."""
    processes = []

    def start(name: str, hangs_after: int = 0) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        with (tmp_path / f"{name}.out").open("w") as out:
            words = [sys.executable, "-c", PROGRAM, str(tmp_path / f"{name}.calls"), str(hangs_after)]
            processes.append(subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_one_writes_the_others_wait_and_a_killed_writer_is_replaced(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, cache: Path
) -> None:
    def said(name: str) -> str:
        return (tmp_path / f"{name}.out").read_text()

    def called(name: str) -> int:
        path = tmp_path / f"{name}.calls"
        return len(path.read_text()) if path.exists() else 0

    writer = start("writer", hangs_after=5)
    until(lambda: called("writer") > 5, "the writer never began")
    waiting = [start("one"), start("two")]
    for name in ("one", "two"):
        until(lambda name=name: "another process is making" in said(name), f"{name} does not wait: {said(name)}")
    assert called("one") == called("two") == 0
    assert len(list((cache / "logits").glob(".*.tmp"))) == 1
    writer.send_signal(signal.SIGKILL)
    for process, name in zip(waiting, ("one", "two"), strict=True):
        assert process.wait(60) == 0, said(name)
        assert said(name).endswith("done\n")
    assert sorted([called("one"), called("two")]) == [0, CALLS]
    assert list((cache / "logits").glob(".*.tmp")) == []  # what the killed one left is gone
    (stored,) = (cache / "logits").glob("*.npy")
    assert np.load(stored).shape == (2, 96, 1, 2)
