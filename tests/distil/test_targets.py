"""The teacher's cached logits are the teacher's logits, made once, kept whole, and told apart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.distil import targets
from erde_nas.distil.targets import cached_logits, targets_path
from erde_nas.distil.teacher import Teacher
from erde_nas.students.network import EarlyExitNetwork

BF16_IS_FASTER = targets._bf16_is_faster
AUGMENTED = {"crop_padding": 1}


class Interrupted(Exception):
    """What the test raises in the middle of the work."""


class Breaks(nn.Module):
    """Answers like `network`, `calls` times."""

    def __init__(self, network: nn.Module, calls: int) -> None:
        super().__init__()
        self.network, self.calls = network, calls

    def forward(self, images: Tensor) -> list[Tensor]:
        self.calls -= 1
        if self.calls < 0:
            raise Interrupted
        return self.network(images)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 without a race, and batches of which 96 images are no multiple, as it will be with real data."""
    monkeypatch.setattr(targets, "BATCH", 40)
    monkeypatch.setattr(targets, "_bf16_is_faster", lambda *_: False)


@pytest.fixture
def teacher(make_network: Callable[..., EarlyExitNetwork]) -> Teacher:
    return Teacher(make_network().eval(), "a-teacher", trained=True)


def test_they_are_the_live_teachers_for_every_view(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views, heard = make_views(**AUGMENTED), []
    logits = cached_logits(teacher, views, 3, lambda done, total: heard.append((done, total)))
    assert logits.shape == (3, 96, 2, 3)
    assert logits.dtype == torch.float16
    assert heard == [(1, 3), (2, 3), (3, 3)]
    for number in range(3):
        with torch.no_grad():
            live = torch.stack(teacher.network(views.view(number)), 1)
        torch.testing.assert_close(logits[number].float(), live, rtol=2**-11, atol=1e-5)
    assert not torch.equal(logits[0], logits[1])


def test_the_second_call_reads_the_file_and_asks_no_teacher(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views = make_views(**AUGMENTED)
    first = cached_logits(teacher, views, 3)
    path = targets_path(teacher, views, 3)
    written = path.stat().st_mtime_ns
    again = cached_logits(replace(teacher, network=Breaks(teacher.network, 0)), make_views(**AUGMENTED), 3)
    assert torch.equal(again, first)
    assert path.stat().st_mtime_ns == written


def test_writing_to_the_tensor_leaves_the_file_alone(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views = make_views()
    first = cached_logits(teacher, views, 3).clone()
    cached_logits(teacher, views, 3).zero_()
    assert torch.equal(cached_logits(teacher, views, 3), first)


def test_any_reader_of_npy_files_can_read_them(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views = make_views(**AUGMENTED)
    logits = cached_logits(teacher, views, 3)
    stored = np.load(targets_path(teacher, views, 3), allow_pickle=False)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, logits)


@pytest.mark.parametrize("calls", [0, 1, 2, 5])
def test_an_interrupted_write_leaves_nothing(
    teacher: Teacher, make_views: Callable[..., Views], cache: Path, calls: int
) -> None:
    views = make_views(**AUGMENTED)
    with pytest.raises(Interrupted):
        cached_logits(replace(teacher, network=Breaks(teacher.network, calls)), views, 3)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert cached_logits(teacher, views, 3).shape == (3, 96, 2, 3)  # and the next start does it all


def test_logits_beyond_fp16_are_clamped(make_views: Callable[..., Views], teacher: Teacher) -> None:
    class Loud(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [torch.tensor([[1e9, -1e9, 0.5]]).expand(len(images), -1)]

    logits = cached_logits(replace(teacher, network=Loud()), make_views(), 1)
    assert logits[0, 0, 0].tolist() == [59_999 + 1, -60_000, 0.5]


def test_another_teacher_seed_or_augmentation_is_another_file(
    teacher: Teacher, make_views: Callable[..., Views]
) -> None:
    views = make_views(**AUGMENTED)
    changes: list[dict[str, Any]] = [{"seed": 1}, {"crop_padding": 2}, {"flip": True}, {"cutout": 2}]
    paths = [
        targets_path(teacher, views, 3),
        targets_path(teacher, views, 4),
        targets_path(replace(teacher, key="another"), views, 3),
        *(targets_path(teacher, make_views(**{**AUGMENTED, **change}), 3) for change in changes),
    ]
    assert len(set(paths)) == len(paths)
    assert targets_path(replace(teacher, trained=False), make_views(**AUGMENTED), 3) == paths[0]


def test_bf16_rounds_and_no_more(
    teacher: Teacher, make_views: Callable[..., Views], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_bf16_is_faster", lambda *_: True)
    views = make_views()
    with torch.no_grad():
        live = torch.stack(teacher.network(views.images), 1)
    got = cached_logits(teacher, views, 1)[0].float()
    assert not torch.equal(got, live.half().float())
    torch.testing.assert_close(got, live, rtol=0.05, atol=0.05)


def test_the_faster_precision_is_the_one_that_took_less_time(
    teacher: Teacher, make_views: Callable[..., Views], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 0.0}

    class Timed(nn.Module):
        def __init__(self, fp32_s: float, bf16_s: float) -> None:
            super().__init__()
            self.seconds = {False: fp32_s, True: bf16_s}

        def forward(self, images: Tensor) -> list[Tensor]:
            clock["now"] += self.seconds[torch.is_autocast_enabled(images.device.type)]
            return []

    monkeypatch.setattr(targets.time, "perf_counter", lambda: clock["now"])
    images = make_views().images
    assert BF16_IS_FASTER(replace(teacher, network=Timed(2.0, 1.0)), images)
    assert not BF16_IS_FASTER(replace(teacher, network=Timed(1.0, 2.0)), images)
