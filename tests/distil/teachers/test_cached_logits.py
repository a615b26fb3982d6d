"""The teacher's cached logits are the teacher's logits, made once, kept whole, and told apart."""

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.distil.teachers import cached_logits as targets
from erde_nas.distil.teachers import teacher_pass
from erde_nas.distil.teachers.cached_logits import cached_logits, targets_path
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.errors import UserError
from erde_nas.files import sha256_of
from erde_nas.networks.network import EarlyExitNetwork

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
    """Batches of which 96 images are no multiple, as it will be with real data."""
    monkeypatch.setattr(teacher_pass, "BATCH", 40)


@pytest.fixture
def teacher(make_network: Callable[..., EarlyExitNetwork]) -> Teacher:
    return Teacher(make_network().eval(), "a-teacher", trained=True)


def silent(teacher: Teacher) -> Teacher:
    """The same teacher by name, but it must not be asked."""
    return replace(teacher, network=Breaks(teacher.network, 0))


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
    views, heard = make_views(**AUGMENTED), []
    first = cached_logits(teacher, views, 3)
    path = targets_path(teacher, views, 3)
    written = path.stat().st_mtime_ns
    again = cached_logits(silent(teacher), make_views(**AUGMENTED), 3, say=heard.append)
    assert torch.equal(again, first)
    assert path.stat().st_mtime_ns == written
    assert heard == []


def test_writing_to_the_tensor_leaves_the_file_alone(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views = make_views()
    first = cached_logits(teacher, views, 3).clone()
    cached_logits(teacher, views, 3).zero_()
    assert torch.equal(cached_logits(teacher, views, 3), first)


def test_any_reader_of_npy_files_can_read_them_and_their_description(
    teacher: Teacher, make_views: Callable[..., Views]
) -> None:
    views = make_views(**AUGMENTED)
    logits = cached_logits(teacher, views, 3)
    path = targets_path(teacher, views, 3)
    stored = np.load(path, allow_pickle=False)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, logits)
    description = json.loads(path.with_suffix(".json").read_text())
    assert description["teacher"] == "a-teacher"
    assert (description["count"], description["images"], description["seed"]) == (3, 96, 0)
    assert description["views"] == {"crop_padding": 1, "flip": False, "cutout": 0}
    assert description["shape"] == [3, 96, 2, 3]
    assert description["bytes"] == path.stat().st_size


@pytest.mark.parametrize("calls", [0, 1, 2, 5])
def test_an_interrupted_write_leaves_nothing(
    teacher: Teacher, make_views: Callable[..., Views], cache: Path, calls: int
) -> None:
    views = make_views(**AUGMENTED)
    with pytest.raises(Interrupted):
        cached_logits(replace(teacher, network=Breaks(teacher.network, calls)), views, 3)
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert cached_logits(teacher, views, 3).shape == (3, 96, 2, 3)  # and the next start does it all


def test_logits_beyond_fp16_are_clamped(make_views: Callable[..., Views], teacher: Teacher) -> None:
    class Loud(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [torch.tensor([[1e9, -1e9, 0.5]]).expand(len(images), -1)]

    logits = cached_logits(replace(teacher, network=Loud()), make_views(), 1)
    assert logits[0, 0, 0].tolist() == [59_999 + 1, -60_000, 0.5]


def test_logits_that_are_no_numbers_are_refused(make_views: Callable[..., Views], teacher: Teacher) -> None:
    class Lost(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [torch.tensor([[0.0, torch.nan, 0.5]]).expand(len(images), -1)]

    with pytest.raises(UserError, match="logits for view 0 are not all finite; use another checkpoint"):
        cached_logits(replace(teacher, network=Lost()), make_views(), 1)


def test_another_teacher_data_seed_or_augmentation_is_another_file(
    teacher: Teacher, make_views: Callable[..., Views]
) -> None:
    views = make_views(**AUGMENTED)
    changes: list[dict[str, Any]] = [{"seed": 1}, {"crop_padding": 2}, {"flip": True}, {"cutout": 2}]
    others = make_views(**AUGMENTED)
    others.data = "other pixels"
    paths = [
        targets_path(teacher, views, 3),
        targets_path(teacher, views, 4),
        targets_path(replace(teacher, key="another"), views, 3),
        targets_path(teacher, others, 3),
        *(targets_path(teacher, make_views(**{**AUGMENTED, **change}), 3) for change in changes),
    ]
    assert len(set(paths)) == len(paths)
    assert targets_path(replace(teacher, trained=False), make_views(**AUGMENTED), 3) == paths[0]
    # How many views may be cached at most says nothing about those that are.
    assert targets_path(teacher, make_views(**AUGMENTED, cached_views=5), 3) == paths[0]


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def overwrite(path: Path, position: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


SPOILERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another teacher's": (lambda path: change_json(path.with_suffix(".json"), teacher="b"), "another teacher"),
    "other data": (lambda path: change_json(path.with_suffix(".json"), data="b"), "another data"),
    "other views": (lambda path: change_json(path.with_suffix(".json"), views={"flip": True}), "another views"),
    "fewer images": (lambda path: change_json(path.with_suffix(".json"), images=95), "another images"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or damaged"),
    "empty": (lambda path: path.write_bytes(b""), "truncated or damaged"),
    "a hole": (lambda path: overwrite(path, 600, b"\0" * 100), "truncated or damaged"),
    "no description": (lambda path: path.with_suffix(".json").unlink(), "incomplete"),
    "only a description": (lambda path: path.unlink(), "incomplete"),
    "half a description": (lambda path: path.with_suffix(".json").write_text('{"teacher": '), "description is damaged"),
    "no description at all": (lambda path: path.with_suffix(".json").write_text("3"), "description is damaged"),
}


@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_does_not_fit_is_made_again_with_a_line_that_says_so(
    teacher: Teacher, make_views: Callable[..., Views], spoil: str
) -> None:
    views, heard = make_views(**AUGMENTED), []
    expected = cached_logits(teacher, views, 2).clone()
    path = targets_path(teacher, views, 2)
    spoiler, reason = SPOILERS[spoil]
    spoiler(path)
    assert torch.equal(cached_logits(teacher, views, 2, say=heard.append), expected)
    assert len(heard) == 2
    assert heard[0].startswith(str(path))
    assert reason in heard[0]
    assert heard[0].endswith("the teacher's logits are computed again")
    assert torch.equal(cached_logits(silent(teacher), views, 2), expected)


def test_logits_of_another_shape_are_made_again(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views, heard = make_views(), []
    expected = cached_logits(teacher, views, 1).clone()
    path = targets_path(teacher, views, 1)
    np.save(path, np.zeros((1, 95, 2, 3), np.float16))
    change_json(path.with_suffix(".json"), bytes=path.stat().st_size, digest=sha256_of(path))
    assert torch.equal(cached_logits(teacher, views, 1, say=heard.append), expected)
    assert "holds float16 (1, 95, 2, 3), not fp16 for 1 views of 96 images" in heard[0]


def test_the_size_is_said_before_anything_is_written(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    views, heard = make_views(**AUGMENTED), []
    path = targets_path(teacher, views, 3)

    def say(text: str) -> None:
        heard.append((text, path.exists()))

    cached_logits(teacher, views, 3, say=say)
    size = 3 * 96 * 2 * 3 * 2  # views, images, exits, classes, bytes
    shape = "3 × 96 × 2 × 3 views, images, exits and classes"
    text = f"teacher logits: {size / 1000:.3g} kB in {path.parent}, fp16 ({shape})"
    assert heard == [(text, False)]
    assert path.stat().st_size == pytest.approx(size, abs=256)  # the header


class Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_disk_without_room_is_refused_before_anything_is_written(
    teacher: Teacher, make_views: Callable[..., Views], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    views = make_views(**AUGMENTED)
    for free, advice in ((2400, "lower views.cached_views from 3 to 2"), (1000, "free some space")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: Usage(free))
        with pytest.raises(UserError, match=rf"need 3\.46 kB, but .*/logits has {free / 1000:.3g} kB free; {advice}"):
            cached_logits(teacher, views, 3)
        assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "set ERDE_NAS_CACHE to a larger disk"), (errno.EIO, "cannot be written")]
)
def test_a_disk_that_fails_in_the_middle(
    teacher: Teacher, make_views: Callable[..., Views], monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, "it failed")

    monkeypatch.setattr(targets.os, "fsync", fail)
    views = make_views()
    with pytest.raises(UserError, match=message):
        cached_logits(teacher, views, 1)
    assert not targets_path(teacher, views, 1).exists()


def test_a_cache_that_is_a_file(
    teacher: Teacher, make_views: Callable[..., Views], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"file/logits cannot be used as a cache .*; set ERDE_NAS_CACHE"):
        cached_logits(teacher, make_views(), 1)


def test_the_mask_is_the_teacher_s_own_in_fp32(teacher: Teacher, make_views: Callable[..., Views]) -> None:
    """bf16 answers otherwise for some of these images, whose two largest logits nearly meet; fp16 would tie others."""
    views = make_views(crop_padding=1, flip=True)
    with torch.no_grad():
        for segment in teacher.network.parts:  # type: ignore[operator]
            segment.head.classifier.weight.mul_(0.01)
            segment.head.classifier.bias.copy_(torch.tensor([60.0, 60.01, 60.005]))
        live = torch.stack(teacher.network(views.view(0)), 1)
        with torch.autocast("cpu", torch.bfloat16):
            low = torch.stack(teacher.network(views.view(0)), 1).float()
    cached = cached_logits(teacher, views, 1)[0].float()
    assert (low.argmax(-1) != live.argmax(-1)).any()
    assert (live.half().float().argmax(-1) != live.argmax(-1)).any()
    assert torch.equal(cached.argmax(-1), live.argmax(-1))
    torch.testing.assert_close(cached, live, rtol=2**-9, atol=0.0)


def test_rounding_keeps_the_largest_logit_alone_and_moves_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 8 + 1e-3 * torch.randn(2000, 5, generator=generator)  # one unit of fp16 is 1/128 here
    got, plain = teacher_pass.rounded(logits), logits.half()
    assert got.dtype == torch.float16
    assert torch.equal(got.argmax(-1), logits.argmax(-1))
    best = torch.nn.functional.one_hot(logits.argmax(-1), 5).bool()
    assert torch.equal(got[~best], plain[~best])
    assert ((got - plain)[best].float() <= 2**-7).all()
    apart = torch.tensor([[1.0, -2.0, 7.5], [-3.0, -3.0, -4.0], [9e9, -9e9, 0.0]])
    assert torch.equal(teacher_pass.rounded(apart), apart.clamp(-6e4, 6e4).half())  # a tie of fp32 stays one


def test_large_images_come_in_smaller_batches(make_views: Callable[..., Views], teacher: Teacher) -> None:
    sizes = []

    class Noting(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            sizes.append(len(images))
            return teacher.network(images)

    views = make_views()
    list(teacher_pass.TeacherPass(Noting(), views).view(0))
    assert sizes == [1, 40, 40, 16]
    sizes.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_pass, "BATCH_PIXELS", 50 * 8 * 8 // 2)
        list(teacher_pass.TeacherPass(Noting(), views).view(0))
    assert sizes == [1, 25, 25, 25, 21]
