"""Models of timm as teachers: what they are fed, and every way in which a file may not fit.

A small stand-in takes timm's place, because timm needs a torchvision that was built for the installed torch; one test
runs the real one where it can be imported.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.distil.prepare import teacher_macs
from erde_nas.distil.teachers import timm_teacher
from erde_nas.distil.teachers.cached_logits import cached_logits
from erde_nas.distil.teachers.load import load_checkpoint
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.teachers.timm_teacher import ResizedInput
from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.errors import UserError
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import check_export, make_segments, write_file
from erde_nas.recipe.teacher import TeacherSection
from tests.distil import fake_timm
from tests.distil.fake_timm import CONFIG, NAME, TinyVit

CPU = torch.device("cpu")


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in fake_timm.modules().items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def own() -> TinyVit:
    torch.manual_seed(0)
    return TinyVit(3).eval()


def load(path: Path, dataset: Dataset, name: str = NAME) -> Teacher:
    network, key = load_checkpoint(TeacherSection(checkpoint=str(path), timm=name), dataset, CPU)
    return Teacher(network, key, trained=False)


def saved(weights: dict[str, Any], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


def as_pillow_sees(images: np.ndarray, side: int, kernel: Image.Resampling) -> np.ndarray:
    """Gray images (n, 1, h, w) resized by Pillow, in three equal channels (n, 3, side, side)."""
    resized = [np.asarray(Image.fromarray(image[0]).resize((side, side), kernel)) for image in images]
    return np.repeat(np.stack(resized)[:, None], 3, axis=1)


def test_its_own_normalisation_and_order_of_classes(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    """Class a is output 1, b output 2 and c output 0; pixels go from -1 to 1."""
    path = saved(own.state_dict(), tmp_path / "weights.pt")
    keys = {"mean": (0.5,), "std": (0.5,), "classes": ("c", "a", "b")}
    section = TeacherSection(checkpoint=str(path), timm=NAME, **keys)  # type: ignore[arg-type]
    network, key = load_checkpoint(section, toy, CPU)
    images = torch.from_numpy(toy.test.images)
    assert isinstance(network, ForeignTeacher)
    prepared = network.prepare(images)
    assert -1 <= prepared.min() < prepared.max() <= 1
    torch.testing.assert_close(network(images)[0], own(prepared)[:, [1, 2, 0]])
    assert key != load(path, toy).key


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_the_logits_are_the_models_for_what_pillow_makes_of_the_images(
    timm: None, own: TinyVit, toy: Dataset, tmp_path: Path, suffix: str
) -> None:
    teacher = load(saved(own.state_dict(), tmp_path / f"weights{suffix}"), toy)
    assert isinstance(teacher.network, ForeignTeacher)
    assert teacher.early_exit is None
    assert not teacher.network.training
    with torch.no_grad():
        (logits,) = teacher.network(torch.from_numpy(toy.test.images))
    resized = as_pillow_sees(toy.test.images, 24, Image.Resampling.BICUBIC) / 255
    normalised = (resized - np.reshape(CONFIG["mean"], (3, 1, 1))) / np.reshape(CONFIG["std"], (3, 1, 1))
    with torch.no_grad():
        expected = own(torch.from_numpy(normalised.astype(np.float32)))
    torch.testing.assert_close(logits, expected, rtol=0.02, atol=0.02)  # Pillow rounds to whole pixels


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("size", "side"), [(8, 24), (32, 24), (30, 7), (24, 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_pillows_but_for_its_rounding(kernel: str, size: int, side: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, channels, size, size)).astype(np.uint8)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]
    got = ResizedInput(size, side, kernel, mean, std)(torch.from_numpy(images)).numpy()
    assert got.shape == (4, 3, side, side)
    pixels = 255 * (got * np.reshape(std, (3, 1, 1)) + np.reshape(mean, (3, 1, 1)))
    resampling = Image.Resampling[kernel.upper()]
    expected = np.concatenate([as_pillow_sees(images[:, [c % channels]], side, resampling)[:, :1] for c in range(3)], 1)
    assert np.abs(pixels - expected).max() < 1.6  # Pillow rounds after each of its two passes


def test_bf16_does_not_blur_the_pixels() -> None:
    prepare = ResizedInput(8, 24, "bicubic", [0.5] * 3, [0.25] * 3)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8)).astype(np.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prepare(images), ResizedInput(8, 24, "bicubic", [0.5] * 3, [0.25] * 3)(images))
    assert torch.equal(prepare(images), prepare(images.float()))


def test_a_training_checkpoint(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    path = saved({"state_dict": own.state_dict(), "epoch": 3}, tmp_path / "last.pth")
    for name, value in load(path, toy).network.program.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, own.state_dict()[name])


def test_from_the_file_to_the_cached_logits(
    timm: None, own: TinyVit, toy: Dataset, tmp_path: Path, make_views: Callable[..., Views]
) -> None:
    teacher, views = load(saved(own.state_dict(), tmp_path / "w.safetensors"), toy), make_views(flip=True)
    logits = cached_logits(teacher, views, 2)
    assert logits.shape == (2, 96, 1, 3)
    with torch.no_grad():
        live = torch.stack(teacher.network(views.view(1)), 1)
    torch.testing.assert_close(logits[1].float(), live, rtol=0.05, atol=0.05)  # bf16, if that is faster


def test_macs_are_those_of_the_model_alone(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    teacher = load(saved(own.state_dict(), tmp_path / "w.safetensors"), toy)
    linear = 9 * 3 * 8 * 8 * 8 + 9 * 8 * 24 + 2 * 8 * 3  # patches, q k v, two heads
    attention = 2 * 9 * 9 * 8
    assert teacher_macs(teacher, toy) == (linear + attention,)


def test_it_can_be_deployed(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    network = load(saved(own.state_dict(), tmp_path / "w.safetensors"), toy).network
    write_file(make_segments(network, [FP32], toy.test.images)[FP32], (), tmp_path / "teacher.onnx", {})
    check_export(tmp_path / "teacher.onnx", network, toy.test.images, ())


def test_the_key_depends_on_weights_data_and_input(
    timm: None, own: TinyVit, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(own.state_dict(), tmp_path / "w.safetensors")
    other = saved(TinyVit(3).state_dict(), tmp_path / "other.safetensors")
    keys = [load(path, toy).key, load(other, toy).key, load(path, replace(toy, fingerprint="others")).key]
    assert load(path, toy).key == keys[0]
    monkeypatch.setitem(CONFIG, "mean", (0.5, 0.5, 0.5))
    keys.append(load(path, toy).key)
    assert len(set(keys)) == 4


def without(weights: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in weights.items() if name not in names}


MISFITS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "classes": (lambda: TinyVit(5).state_dict(), r"has 5 classes, but the data set has 3; use a teacher trained on it"),
    "input size": (
        lambda: TinyVit(3, side=32).state_dict(),
        r"is not of timm's tiny_patch8_24 \(of another input size\?\): pos_embed is \(1, 16, 8\), but must be \(1, 9,",
    ),
    "width": (lambda: TinyVit(3, width=16).state_dict(), r"is not of timm's tiny_patch8_24 .*is \(.*16.*\), but must"),
    "missing": (
        lambda: without(TinyVit(3).state_dict(), "norm.weight", "norm.bias"),
        r"is not of timm's tiny_patch8_24: 2 missing \(such as norm\.bias\); correct teacher\.timm or the file",
    ),
    "unexpected": (
        lambda: {**TinyVit(3).state_dict(), "more": torch.zeros(1)},
        r"is not of timm's tiny_patch8_24: 1 unexpected \(such as more\)",
    ),
    "another architecture": (
        lambda: nn.Linear(2, 2).state_dict(),
        r"11 missing \(such as head\.bias\), 2 unexpected \(such as bias\)",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_another_model(timm: None, toy: Dataset, tmp_path: Path, misfit: str, suffix: str) -> None:
    make, message = MISFITS[misfit]
    with pytest.raises(UserError, match=rf"weights\{suffix} .*{message}" if misfit != "classes" else message):
        load(saved(make(), tmp_path / f"weights{suffix}"), toy)


class Surprise:
    """What a pickle may hold and weights must not."""


def test_files_that_are_no_weights(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.pth does not exist; correct teacher\.checkpoint in the recipe"):
        load(tmp_path / "absent.pth", toy)
    for suffix in (".pth", ".safetensors"):
        path = saved(own.state_dict(), tmp_path / f"w{suffix}")
        whole = path.read_bytes()
        for content in (b"", whole[:100], whole[:-200], b"no weights"):
            path.write_bytes(content)
            with pytest.raises(UserError, match=rf"w\{suffix} holds no weights that can be read safely: \S"):
                load(path, toy)
    with pytest.raises(UserError, match=r"pickled\.pth holds no weights that can be read safely"):
        load(saved({"model": Surprise()}, tmp_path / "pickled.pth"), toy)
    with pytest.raises(UserError, match=r"nested\.pth holds no state dict of tensors; save model\.state_dict\(\)"):
        load(saved({"a": {"b": torch.zeros(1)}}, tmp_path / "nested.pth"), toy)
    with pytest.raises(UserError, match=r"model\.onnx of a timm model must end in \.safetensors, \.pth"):
        load(saved({}, tmp_path / "model.onnx"), toy)


def test_an_unknown_model(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    path = saved(own.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"teacher\.timm: timm 0\.0 knows no model 'tiny_patch8_32'; did you mean tiny"):
        load(path, toy, "tiny_patch8_32")
    with pytest.raises(UserError, match=r"knows no model 'hf-hub:timm/x'; timm\.list_models\(\) lists them"):
        load(path, toy, "hf-hub:timm/x")  # would be downloaded


def test_images_of_two_channels(timm: None, own: TinyVit, toy: Dataset, tmp_path: Path) -> None:
    path = saved(own.state_dict(), tmp_path / "w.safetensors")
    split = replace(toy.train, images=toy.train.images.repeat(2, axis=1))
    with pytest.raises(UserError, match="takes gray or colour images, but these have 2 channels"):
        load(path, replace(toy, train=split))


def test_a_model_that_timm_cannot_build(
    timm: None, own: TinyVit, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TypeError("no classes here\nmore lines")

    monkeypatch.setattr(sys.modules["timm"], "create_model", refuse)
    with pytest.raises(UserError, match=rf"teacher\.timm: timm cannot build '{NAME}' with 3 classes: no classes here$"):
        load(saved(own.state_dict(), tmp_path / "w.safetensors"), toy)


@pytest.mark.parametrize("absent", ["timm", "torchvision"])
def test_without_timm_one_line_names_the_extra(
    own: TinyVit, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    def fail(_: str) -> None:
        raise ModuleNotFoundError(f"No module named '{absent}'", name=absent)

    monkeypatch.setattr(timm_teacher, "import_module", fail)
    path = saved(own.state_dict(), tmp_path / "w.safetensors")
    message = rf"teacher\.timm needs {absent}, which is not installed; pip install 'erde-nas\[timm\]', with a torchvi"
    with pytest.raises(UserError, match=message):
        load(path, toy)


def test_a_torchvision_of_another_build(
    own: TinyVit, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(timm_teacher, "import_module", fail)
    message = r"timm cannot be imported \(operator torchvision::nms does not exist\); install the torchvision that"
    with pytest.raises(UserError, match=message):
        load(saved(own.state_dict(), tmp_path / "w.safetensors"), toy)


def test_a_name_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"timm: vit_tiny_patch16_224 needs checkpoint: .* nothing is downloaded"):
        TeacherSection(timm="vit_tiny_patch16_224")


REAL = {
    # Parameters with 3 classes: as published for 1,000 (ViT-Ti/16 5,717,416, Swin-T 28,288,354; DeiT's distilled model
    # adds a second head, a token and its position to ViT's), less 997 rows of the classifiers.
    "vit_tiny_patch16_224": 5_717_416 - 997 * 193,
    "deit_tiny_distilled_patch16_224": 5_717_416 + 193_000 + 2 * 192 - 2 * 997 * 193,
    "swin_tiny_patch4_window7_224": 28_288_354 - 997 * 769,
}


def tiny_vit_macs(tokens: int, classifiers: int) -> int:
    """By hand, for width 192, 12 layers, 196 patches of 16×16 and 3 classes."""
    layer = tokens * (3 * 192**2 + 192**2 + 2 * 192 * 768) + 2 * tokens**2 * 192  # q k v, projection, MLP; attention
    return 196 * 3 * 16**2 * 192 + 12 * layer + classifiers * 192 * 3


MACS = {
    "vit_tiny_patch16_224": tiny_vit_macs(197, 1),
    "deit_tiny_distilled_patch16_224": tiny_vit_macs(198, 2),
    "swin_tiny_patch4_window7_224": pytest.approx(4.49e9, rel=0.002),  # as published
}


@pytest.mark.extra
@pytest.mark.parametrize("name", REAL)
def test_the_real_timm(toy: Dataset, tmp_path: Path, name: str) -> None:
    real = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = real.create_model(name, num_classes=3).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == REAL[name]
    teacher = load(saved(model.state_dict(), tmp_path / "w.safetensors"), toy, name)
    with torch.no_grad():
        (logits,) = teacher.network(torch.from_numpy(toy.test.images[:2]))
        resized = as_pillow_sees(toy.test.images[:2], 224, Image.Resampling.BICUBIC) / 255
        config = model.pretrained_cfg
        x = (resized - np.reshape(config["mean"], (3, 1, 1))) / np.reshape(config["std"], (3, 1, 1))
        expected = model(torch.from_numpy(x.astype(np.float32)))
    torch.testing.assert_close(logits, expected, rtol=0.02, atol=0.02)
    assert teacher_macs(teacher, toy)[0] == MACS[name]
    other = saved(real.create_model(name, num_classes=5).state_dict(), tmp_path / "five.pth")
    with pytest.raises(UserError, match="has 5 classes, but the data set has 3"):
        load(other, toy, name)
