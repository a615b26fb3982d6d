"""`.pth` files of the literature's networks, against forward passes written by hand over the published names."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.views import Views
from erde_nas.distil.teachers.load import load_checkpoint
from erde_nas.distil.teachers.teacher import prepare_teacher
from erde_nas.errors import UserError
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.teacher import TeacherSection

CPU = torch.device("cpu")
CLASSES = 7
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # of the public code, for CIFAR-100


class Net:
    """Layers by name in eval mode, with random weights. `state` is what `state_dict` would hold after one pass."""

    def __init__(self, forward: Callable[["Net", Tensor], Tensor], seed: int = 0) -> None:
        self.state: dict[str, Tensor] = {}
        self.forward, self.generator = forward, torch.Generator().manual_seed(seed)

    def draw(self, name: str, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        self.state[name] = torch.rand(*shape, generator=self.generator) * (high - low) + low
        return self.state[name]

    def conv(self, name: str, x: Tensor, out: int, k: int = 3, stride: int = 1, groups: int = 1, bias: bool = False):
        inputs = x.shape[1] // groups
        most = (inputs * k * k) ** -0.5
        weight = self.draw(f"{name}.weight", out, inputs, k, k, low=-most, high=most)
        return F.conv2d(x, weight, self.draw(f"{name}.bias", out) if bias else None, stride, k // 2, 1, groups)

    def norm(self, name: str, x: Tensor) -> Tensor:
        n = x.shape[1]
        mean, var = self.draw(f"{name}.running_mean", n), self.draw(f"{name}.running_var", n, low=0.2)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(3)
        return F.batch_norm(x, mean, var, self.draw(f"{name}.weight", n, low=0.5), self.draw(f"{name}.bias", n))

    def unit(self, name: str, number: int, x: Tensor, out: int, **how: Any) -> Tensor:
        """conv<number> and bn<number> inside `name`."""
        dot = f"{name}." if name else ""
        return self.norm(f"{dot}bn{number}", self.conv(f"{dot}conv{number}", x, out, **how))

    def linear(self, name: str, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return F.linear(x, self.draw(f"{name}.weight", CLASSES, x.shape[1]), self.draw(f"{name}.bias", CLASSES))


def resnet(each: int) -> Callable[[Net, Tensor], Tensor]:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.unit("", 1, x, 32).relu()
        for stage, width in enumerate((64, 128, 256), 1):
            for i in range(each):
                name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
                y = net.unit(name, 2, net.unit(name, 1, x, width, stride=stride).relu(), width)
                if i == 0:
                    x = net.norm(f"{name}.downsample.1", net.conv(f"{name}.downsample.0", x, width, k=1, stride=stride))
                x = (y + x).relu()
        return net.linear("fc", x)

    return forward


def resnet50(net: Net, x: Tensor) -> Tensor:
    x = net.unit("", 1, x, 64).relu()
    for stage, (inner, each) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True), 1):
        for i in range(each):
            name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = net.unit(name, 1, x, inner, k=1).relu()
            y = net.unit(name, 3, net.unit(name, 2, y, inner, stride=stride).relu(), 4 * inner, k=1)
            if i == 0:
                x = net.norm(f"{name}.shortcut.1", net.conv(f"{name}.shortcut.0", x, 4 * inner, k=1, stride=stride))
            x = (y + x).relu()
    return net.linear("linear", x)


def wrn(depth: int, factor: int) -> Callable[[Net, Tensor], Tensor]:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.conv("conv1", x, 16)
        for stage, width in enumerate((16 * factor, 32 * factor, 64 * factor), 1):
            for i in range((depth - 4) // 6):
                name, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
                active = net.norm(f"{name}.bn1", x).relu()
                y = net.norm(f"{name}.bn2", net.conv(f"{name}.conv1", active, width, stride=stride)).relu()
                y = net.conv(f"{name}.conv2", y, width)
                same = x.shape[1] == width
                x = y + (x if same else net.conv(f"{name}.convShortcut", active, width, k=1, stride=stride))
        return net.linear("fc", net.norm("bn1", x).relu())

    return forward


def vgg(each: int) -> Callable[[Net, Tensor], Tensor]:
    def forward(net: Net, x: Tensor) -> Tensor:
        for block, width in enumerate((64, 128, 256, 512, 512)):
            x = F.max_pool2d(x, 2) if 0 < block < 4 else x
            for i in range(each):
                x = net.conv(f"block{block}.{3 * i}", x, width, bias=True)
                x = net.norm(f"block{block}.{3 * i + 1}", x).relu()
        return net.linear("classifier", x)

    return forward


def mobilenetv2(net: Net, x: Tensor) -> Tensor:
    x = net.norm("conv1.1", net.conv("conv1.0", x, 16, stride=2)).relu()
    rows = [(1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]
    for row, (times, width, repeats, stride) in enumerate(rows):
        for i in range(repeats):
            name, inner = f"blocks.{row}.{i}.conv", times * x.shape[1]
            y = net.norm(f"{name}.1", net.conv(f"{name}.0", x, inner, k=1)).relu()
            y = net.conv(f"{name}.3", y, inner, stride=stride if i == 0 else 1, groups=inner)
            y = net.norm(f"{name}.7", net.conv(f"{name}.6", net.norm(f"{name}.4", y).relu(), width, k=1))
            x = x + y if x.shape == y.shape else y
    return net.linear("classifier.0", net.norm("conv2.1", net.conv("conv2.0", x, 1280, k=1)).relu())


def shufflenetv2(net: Net, x: Tensor) -> Tensor:
    x = net.unit("", 1, x, 24, k=1).relu()
    for stage, (width, units) in enumerate(((116, 4), (232, 8), (464, 4)), 1):
        half = width // 2
        for i in range(units):
            name = f"layer{stage}.{i}"
            if i == 0:
                inputs = x.shape[1]
                left = net.unit(name, 2, net.unit(name, 1, x, inputs, stride=2, groups=inputs), half, k=1).relu()
                right, first, stride = x, 3, 2
            else:
                left, right, first, stride = x[:, :half], x[:, half:], 1, 1
            right = net.unit(name, first, right, half, k=1).relu()
            right = net.unit(name, first + 1, right, half, stride=stride, groups=half)
            right = net.unit(name, first + 2, right, half, k=1).relu()
            both = torch.cat([left, right], 1)
            n, _, h, w = both.shape
            x = both.view(n, 2, half, h, w).transpose(1, 2).reshape(n, width, h, w)
    return net.linear("linear", net.unit("", 2, x, 1024, k=1).relu())


NETS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "resnet8x4": resnet(1),
    "resnet32x4": resnet(5),
    "wrn-16-2": wrn(16, 2),
    "wrn-40-1": wrn(40, 1),
    "wrn-40-2": wrn(40, 2),
    "wrn-28-4": wrn(28, 4),
    "vgg8": vgg(1),
    "vgg13": vgg(2),
    "mobilenetv2": mobilenetv2,
    "shufflenetv2": shufflenetv2,
    "resnet50": resnet50,
}


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32)).astype(np.uint8)


@pytest.fixture
def colour() -> Dataset:
    split = Split(images(), np.arange(3))
    return Dataset("cifar100", split, split, split, tuple("abcdefg"), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2), "colour")


def published(name: str, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """The state dict of a network with random weights, and its logits for the images."""
    net = Net(NETS[name], seed)
    pixels = torch.from_numpy(images()).float() / 255
    x = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        logits = net.forward(net, x)
    return net.state, logits


def load(name: str, path: Path, dataset: Dataset, **keys: Any) -> EarlyExitNetwork:
    network, _ = load_checkpoint(TeacherSection(model=name, checkpoint=str(path), **keys), dataset, CPU)
    assert isinstance(network, EarlyExitNetwork)
    return network


@pytest.mark.parametrize("name", list(NETS))
def test_the_network_answers_as_the_published_one(name: str, colour: Dataset, tmp_path: Path) -> None:
    state, expected = published(name)
    torch.save({"epoch": 240, "model": state, "accuracy": torch.tensor(79.4)}, tmp_path / "ckpt_epoch_240.pth")
    network = load(name, tmp_path / "ckpt_epoch_240.pth", colour)
    assert not network.training
    with torch.no_grad():
        (logits,) = network(torch.from_numpy(images()))
    assert logits.std() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert torch.equal(logits.argmax(1), expected.argmax(1))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {"model": {key: v for key, v in state.items() if not key.endswith("tracked")}},  # of an old torch
    ],
)
def test_wrappers_and_prefixes(wrap: Callable[..., Any], colour: Dataset, tmp_path: Path) -> None:
    state, expected = published("resnet8x4")
    torch.save(wrap(state), tmp_path / "weights.pth.tar")
    with torch.no_grad():
        (logits,) = load("resnet8x4", tmp_path / "weights.pth.tar", colour)(torch.from_numpy(images()))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_two_files_have_two_keys(colour: Dataset, tmp_path: Path) -> None:
    keys = []
    for seed in (0, 1, 0):
        torch.save(published("resnet8x4", seed)[0], tmp_path / "a.pth")
        section = TeacherSection(model="resnet8x4", checkpoint=str(tmp_path / "a.pth"), exits="last")
        keys.append(load_checkpoint(section, colour, CPU)[1])
    assert keys[0] == keys[2] != keys[1]


def test_the_section_may_say_how_images_are_normalised(colour: Dataset, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", published("resnet8x4")[0])
    usual = load("resnet8x4", path, colour)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    own = load("resnet8x4", path, colour, mean=mean, std=std)
    x = torch.rand(2, 3, 32, 32) * 255
    moved = (x / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    same = 255 * (moved * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1))
    with torch.no_grad():
        torch.testing.assert_close(own(x)[0], usual(same)[0], rtol=1e-3, atol=1e-3)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_what_is_wrong_is_named(colour: Dataset, tmp_path: Path) -> None:
    state, _ = published("resnet8x4")
    file = saved(tmp_path / "a.pth", state)
    for name, said in {
        "resnet32x4": r"a\.pth holds no weights of resnet32x4: missing layer1\.1\.bn1\.bias, .* and \d+ more; "
        r"they are those of resnet8x4",
        "wrn-16-2": r"unexpected .*they are those of resnet8x4",
    }.items():
        with pytest.raises(UserError, match=said):
            load(name, file, colour)
    other = {**state, "conv1.weight": torch.zeros(32, 3, 5, 5)}
    with pytest.raises(UserError, match=r"of another shape conv1\.weight \(32, 3, 5, 5\) instead of \(32, 3, 3, 3\)"):
        load("resnet8x4", saved(tmp_path / "b.pth", other), colour)
    ten = {**state, "fc.weight": torch.zeros(10, 256), "fc.bias": torch.zeros(10)}
    with pytest.raises(UserError, match=r"c\.pth has 10 classes, but the data set has 7"):
        load("resnet8x4", saved(tmp_path / "c.pth", ten), colour)
    with pytest.raises(UserError, match=r"holds no early exits, but teacher\.exits is \[0, 1\]; write exits: last"):
        load("resnet8x4", file, colour, exits=(0, 1))
    with pytest.raises(UserError, match=r"airbench94 has no layers' names of a public code base"):
        load("airbench94", file, colour)


def test_nothing_but_tensors_is_read(colour: Dataset, tmp_path: Path) -> None:
    state, _ = published("resnet8x4")
    whole = saved(tmp_path / "last.pth", {"opt": argparse.Namespace(lr=0.05), "model": state})
    with pytest.raises(UserError, match=r"last\.pth cannot be read as weights alone .*; save its model\.state_dict"):
        load("resnet8x4", whole, colour)
    (tmp_path / "broken.pth").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"broken\.pth cannot be read as weights alone"):
        load("resnet8x4", tmp_path / "broken.pth", colour)
    with pytest.raises(UserError, match=r"none\.pth holds no state dict of tensors"):
        load("resnet8x4", saved(tmp_path / "none.pth", {"epoch": 3}), colour)


def test_a_recipe_that_was_kept_loads_it_again_and_one_exit_is_told(
    recipe: Recipe, colour: Dataset, tmp_path: Path
) -> None:
    """A dump says `exits: stages`, the default, which stands for the exit that the file has."""
    file = saved(tmp_path / "a.pth", published("resnet8x4")[0])
    section = TeacherSection(model="resnet8x4", checkpoint=str(file))
    again = TeacherSection.model_validate_json(section.model_dump_json(), strict=True)
    views, heard = Views(colour.train, recipe.views, seed=0, device=CPU), []
    keys = set()
    for teacher in (section, again):
        own = recipe.model_copy(update={"teacher": teacher})
        keys.add(prepare_teacher(own, colour, views, lambda _: None, lambda *_: None, heard.append).key)
    assert len(keys) == 1
    assert [text.partition(" has ")[2] for text in heard] == [
        "one exit, the last: published weights hold no others"
    ] * 2
