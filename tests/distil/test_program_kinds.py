"""Kinds of `torch.export` programs, each from the file to int8: PyTorch's own answer to the images is the oracle."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.data.dataset import Dataset, Split
from erde_nas.distil.prepare import teacher_macs
from erde_nas.distil.teachers.load import Checkpoint, read_checkpoint
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.errors import UserError
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.write import ExportMismatch, check_export, make_segments, write_file
from erde_nas.recipe.teacher import TeacherSection

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 1, 16, 16)).astype(np.uint8)
LABELS = np.arange(40) % 3
SPLIT = Split(IMAGES, LABELS)
DATASET = Dataset("noise", SPLIT, SPLIT, SPLIT, ("a", "b", "c"), (0.5,), (0.3,), "noise")
CONV1, CONV2 = 8 * 64 * 9, 16 * 16 * 8 * 9  # MACs of the two convolutions


class Net(nn.Module):
    """Two convolutions and a linear layer, (n, 1, 16, 16) -> (n, 3); `function` says what is done with its parts."""

    def __init__(self, function: Callable[["Net", Tensor], Any], features: int = 256) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.drop, self.linear, self.early = nn.Dropout(0.5), nn.Linear(features, 3), nn.Linear(8, 3)
        self.token, self.attention = nn.Parameter(torch.ones(1, 1, 16)), nn.MultiheadAttention(16, 2, batch_first=True)
        self.group, self.layer = nn.GroupNorm(4, 16), nn.LayerNorm(256)
        self.function = function
        for norm in (self.norm1, self.norm2):  # as if it were trained
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        self.eval()

    def first(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm1(self.conv1(x)))

    def features(self, x: Tensor) -> Tensor:
        """(n, 16, 4, 4)."""
        return torch.relu(self.norm2(self.conv2(self.first(x))))

    def plain(self, x: Tensor) -> Tensor:
        return self.linear(self.drop(self.features(x).flatten(1)))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def viewed(net: Net, x: Tensor) -> Tensor:
    return net.linear(net.features(x).view(x.size(0), -1))


def expanded(net: Net, x: Tensor) -> Tensor:
    tokens = net.features(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.token.expand(x.shape[0], -1, -1), tokens], 1)
    return net.linear(net.attention(tokens, tokens, tokens, need_weights=False)[0][:, 0])


def repeated(net: Net, x: Tensor) -> Tensor:
    tokens = net.features(x).flatten(2).transpose(1, 2)
    return net.linear(torch.cat([net.token.repeat(x.shape[0], 1, 1), tokens], 1).mean(1))


def shuffled(net: Net, x: Tensor) -> Tensor:
    x = net.features(x)
    n, c, h, w = x.shape
    return net.linear(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).flatten(1))


def windowed(net: Net, x: Tensor) -> Tensor:
    """Parts of the image are put into the batch and taken out again, as Swin does."""
    x = net.features(x)
    n, c, h, w = x.shape
    x = x.view(n, c, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
    x = x - x.mean(1, keepdim=True)
    return net.linear(x.view(n, 2, 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w).flatten(1))


def pooled(pool: Callable[[Tensor], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    return lambda net, x: net.linear(pool(net.features(x)).flatten(1))


def normed(net: Net, x: Tensor) -> Tensor:
    x = F.max_pool2d(F.gelu(net.group(net.conv2(net.first(x)))), 3, 1, 1)
    return net.linear(net.layer(x.flatten(1))).log_softmax(-1)


@dataclass(frozen=True)
class Kind:
    """How a program is made, and what it gives for pixels in fp32; `says` are words of the remark on it."""

    function: Callable[[Net, Tensor], Any] = Net.plain
    features: int = 256
    batch: int = 2
    bounds: tuple[int | None, int | None] | None = (None, None)  # None: a static batch
    decompose: bool = False
    dtype: torch.dtype = torch.float32
    train: bool = False
    shape: tuple[int, ...] = (1, 16, 16)
    arrange: Callable[[Tensor], Tensor] = lambda x: x
    says: str = ""

    def program(self) -> torch.export.ExportedProgram:
        net = Net(self.function, self.features).to(self.dtype if self.dtype.is_floating_point else torch.float32)
        net.train(self.train)
        limits = {key: value for key, value in zip(("min", "max"), self.bounds or (), strict=False) if value}
        dynamic = None if self.bounds is None else ({0: torch.export.Dim("batch", **limits)},)
        x = torch.zeros(self.batch, *self.shape).to(self.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.export.export(net, (x,), dynamic_shapes=dynamic)
            return made.run_decompositions() if self.decompose else made

    def answer(self, pixels: np.ndarray) -> list[Tensor]:
        """Image by image, so that no batch can matter."""
        x = torch.from_numpy(pixels).float()
        x = self.arrange(x if not self.dtype.is_floating_point else (x / 255 - 0.5) / 0.3)
        net = Net(self.function, self.features)
        with torch.no_grad():
            rows = [net(x[i : i + 1]) for i in range(len(x))]
        outs = [[row] if isinstance(row, Tensor) else list(row) for row in rows]
        return [torch.cat(parts).flatten(1) for parts in zip(*outs, strict=True)]


KINDS = {
    "plain": Kind(),
    "decomposed": Kind(decompose=True),
    "view": Kind(viewed),
    "view, decomposed": Kind(viewed, decompose=True),
    "expand and attention": Kind(expanded, 16),
    "the same, decomposed": Kind(expanded, 16, decompose=True),
    "channel shuffle, a static batch": Kind(
        shuffled, batch=8, bounds=None, says="exported for exactly 8 images at once"
    ),
    "windows": Kind(windowed),
    "windows, a static batch": Kind(windowed, batch=4, bounds=None, says="exactly 4 images at once; tried, it answers"),
    "repeat, a static batch": Kind(repeated, 16, batch=2, bounds=None, says="tried, it answers any number alike"),
    "a static batch of one": Kind(viewed, batch=1, bounds=None, says="exactly 1 image at once; tried"),
    "one image, heads in the batch": Kind(expanded, 16, batch=1, bounds=None, says="so it is run in such batches"),
    "at most 16": Kind(bounds=(None, 16), says="at most 16 images at once"),
    "at least 4, at most 9": Kind(shuffled, batch=5, bounds=(4, 9), says="at least 4 and at most 9 images at once"),
    "fp16": Kind(dtype=torch.float16, says="its float16 weights are used in float32"),
    "bf16": Kind(dtype=torch.bfloat16, says="its bfloat16 weights are used in float32"),
    "fp16 inside": Kind(lambda net, x: F.linear(net.features(x).flatten(1).half(), net.linear.weight.half()).float()),
    "pooling to a size that does not divide": Kind(pooled(nn.AdaptiveAvgPool2d(3)), 144),
    "pooling of rows alone": Kind(pooled(nn.AdaptiveAvgPool2d((3, None))), 192),
    "pooling to maxima": Kind(pooled(nn.AdaptiveMaxPool2d(3)), 144),
    "pooling of lines": Kind(pooled(lambda x: F.adaptive_avg_pool1d(x.flatten(2), 5)), 80),
    "pooling of lines to maxima": Kind(pooled(lambda x: F.adaptive_max_pool1d(x.flatten(2), 5)), 80),
    "other norms, decomposed": Kind(normed, decompose=True),
    "instance norm in fp64, decomposed": Kind(
        lambda net, x: net.linear(F.instance_norm(net.features(x).double()).float().flatten(1)), decompose=True
    ),
    "logits of several hundred": Kind(lambda net, x: net.plain(x) * 300),
    "training mode": Kind(train=True, says="exported in training mode: dropout is off"),
    "training mode, decomposed": Kind(train=True, decompose=True, says="exported in training mode"),
    "logits with axes of one": Kind(lambda net, x: net.plain(x)[:, :, None, None]),
    "features besides": Kind(lambda net, x: (net.plain(x), net.first(x)), says="1 cannot be logits and are left out"),
    "pixels as uint8": Kind(
        lambda net, x: net.plain(x.float() / 255), dtype=torch.uint8, says="takes pixels 0..255 as uint8"
    ),
    "pixels as int64": Kind(lambda net, x: net.plain(x.float() / 255), dtype=torch.int64, says="as int64"),
    "channels last": Kind(
        lambda net, x: net.plain(x.permute(0, 3, 1, 2)),
        shape=(16, 16, 1),
        arrange=lambda x: x.permute(0, 2, 3, 1),
        says="it takes images as (height, width, channels)",
    ),
    "no channels": Kind(
        lambda net, x: net.plain(x[:, None]), shape=(16, 16), arrange=lambda x: x[:, 0], says="as (height, width)"
    ),
}


def read(program: torch.export.ExportedProgram, folder: Path, **keys: Any) -> Checkpoint:
    torch.export.save(program, folder / "own.pt2")
    return read_checkpoint(TeacherSection(checkpoint=str(folder / "own.pt2"), **keys), DATASET, CPU)


def close(found: Tensor | np.ndarray, expected: Tensor, share: float = 1e-3) -> None:
    size = float(expected.abs().max())
    np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=0, atol=share * size)


SLOW = ("decomposed", "the same, decomposed")  # to decompose takes seconds, and others are decomposed, too


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in KINDS])
def test_a_kind_of_program_from_the_file_to_int8(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    found = read(kind.program(), tmp_path)
    network = found.network
    assert kind.says in " ".join(found.remarks)
    assert bool(kind.says) == bool(found.remarks), found.remarks
    expected = kind.answer(IMAGES)[0]
    half = kind.dtype in (torch.float16, torch.bfloat16) or "fp16" in name
    with torch.no_grad():
        for count in (1, 3, 40):
            (logits,) = network(torch.from_numpy(IMAGES[:count]))
            close(logits, expected[:count], 0.02 if half else 1e-3)
    (macs,) = teacher_macs(Teacher(network, "", False), DATASET)
    assert macs >= CONV1 + CONV2
    both = make_segments(network, [FP32, INT8], IMAGES)  # type: ignore[arg-type]
    write_file(both[FP32], (), tmp_path / "own.onnx", {})
    check_export(tmp_path / "own.onnx", network, IMAGES, ())
    close(both[FP32].logits(IMAGES)[0], expected, 0.02 if half else 1e-3)
    int8 = torch.from_numpy(both[INT8].logits(IMAGES)[0])
    assert float((int8 - expected).abs().max() / expected.abs().max()) < 0.25, "random weights, so rounding shows"


@pytest.mark.parametrize("order", ["shallowest first", "final first", "named"])
def test_exits_are_told_by_the_layers_before_them(order: str, tmp_path: Path) -> None:
    def early(net: Net, x: Tensor) -> Tensor:
        return net.early(net.first(x).mean((2, 3)))

    functions: dict[str, Callable[[Net, Tensor], Any]] = {
        "shallowest first": lambda net, x: [early(net, x), net.plain(x)],
        "final first": lambda net, x: (net.plain(x), early(net, x)),
        "named": lambda net, x: {"out": net.plain(x), "aux": early(net, x)},
    }
    found = read(Kind(functions[order]).program(), tmp_path)
    outputs = "0, 1" if order == "shallowest first" else "1, 0"
    assert f"it has 2 exits; by the layers before them, shallowest first, they are outputs {outputs}" in found.remarks
    x = torch.from_numpy(IMAGES)
    with torch.no_grad():
        first, last = found.network(x)
    close(last, Kind().answer(IMAGES)[0])
    close(first, Kind(early).answer(IMAGES)[0])
    assert teacher_macs(Teacher(found.network, "", False), DATASET) == (CONV1 + 8 * 3, CONV1 + CONV2 + 256 * 3)
    (segment,) = make_segments(found.network, [FP32], IMAGES)[FP32].models  # type: ignore[arg-type]
    assert [value.name for value in segment.graph.output] == ["logits0"]


@pytest.mark.parametrize("squash", ["softmax", "sigmoid"])
def test_probabilities_become_logits(squash: str, tmp_path: Path) -> None:
    found = read(
        Kind(lambda net, x: getattr(net.plain(x), squash)(*([-1] if squash == "softmax" else []))).program(), tmp_path
    )
    logits = Kind().answer(IMAGES)[0]
    expected = logits.log_softmax(-1) if squash == "softmax" else logits
    with torch.no_grad():
        close(found.network(torch.from_numpy(IMAGES))[0], expected, 1e-2)
    said = "probabilities (a softmax)" if squash == "softmax" else "comes from a sigmoid"
    assert said in found.remarks[0]


def test_inputs_by_name(tmp_path: Path) -> None:
    batch = {"x": {0: torch.export.Dim("batch")}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.export.export(Net(Net.plain), (), {"x": torch.zeros(2, 1, 16, 16)}, dynamic_shapes=batch)
    with torch.no_grad():
        close(read(made, tmp_path).network(torch.from_numpy(IMAGES))[0], Kind().answer(IMAGES)[0])


def test_images_of_any_strides(tmp_path: Path) -> None:
    """As gray images of an .npz file come: a channel whose stride is that of a row."""
    network = read(Kind(viewed).program(), tmp_path).network
    odd = torch.from_numpy(IMAGES[:, 0].copy()).as_strided((40, 1, 16, 16), (256, 1, 16, 1))
    with torch.no_grad():
        close(network(odd)[0], Kind().answer(IMAGES)[0])


REFUSED: dict[str, tuple[Kind, str]] = {
    "random": (
        Kind(lambda net, x: net.plain(x) + torch.rand_like(x[:, 0, 0, :3])),
        r"own\.pt2 answers differently when asked again; call model\.eval\(\) first: export it with",
    ),
    "norms of the batch": (
        Kind(lambda net, x: net.linear(F.batch_norm(net.conv2(net.first(x)), None, None, training=True).flatten(1))),
        r"answers an image differently in other company, as a batch norm in training mode does; call model\.eval\(\)",
    ),
    "not a number": (Kind(lambda net, x: net.plain(x) * torch.nan), r"own\.pt2, exit 0: its logits are not finite"),
    "other classes": (
        Kind(lambda net, x: net.plain(x)[:, :2]),
        r"own\.pt2: noise has 3 classes, so it must give logits of shape \(images, 3\), but gives \(images, 2\)",
    ),
    "another size": (
        Kind(lambda net, x: net.plain(x[:, :, :16, :16]), shape=(1, 32, 32)),
        r"own\.pt2 takes images of 1×32×32, but noise's are 1×16×16; .* or set dataset\.image_size",
    ),
    "colour": (Kind(lambda net, x: net.plain(x[:, :1]), shape=(3, 16, 16)), r"images of 3×16×16, but .* 1×16×16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_teach_is_refused_in_one_line(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kind, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        read(kind.program(), tmp_path)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] * scale

    made = torch.export.export(Two(), (torch.zeros(2, 1, 16, 16), torch.ones(1)))
    with pytest.raises(UserError, match=r"own\.pt2 must take images alone, but its inputs are x, scale; export it"):
        read(made, tmp_path)


def test_a_program_that_needs_a_batch_teaches_but_is_no_file(tmp_path: Path) -> None:
    """Its batch of 2 is merged with the heads, which no leading size shows."""
    kind = Kind(expanded, 16, batch=2, bounds=None)
    found = read(kind.program(), tmp_path)
    assert found.remarks == ("it takes exactly 2 images at once, so it is run in such batches",)
    with torch.no_grad():
        for count in (1, 3):
            close(found.network(torch.from_numpy(IMAGES[:count]))[0], kind.answer(IMAGES[:count])[0])
    with pytest.raises(
        ExportMismatch, match="takes one image at a time, but the program takes exactly 2 images at once"
    ):
        make_segments(found.network, [FP32], IMAGES)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"PK\3\4 cut"), "it is cut short, or of another kind"),
        (lambda path: torch.save(Net(Net.plain).state_dict(), path), "it holds what torch.save wrote"),
        (
            lambda path: torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)).save(str(path)),
            r"it holds TorchScript \(torch\.jit\.save\)",
        ),
    ],
    ids=["empty", "cut", "torch.save", "TorchScript"],
)
def test_another_file_than_a_program_is_told_by_what_it_is(
    write: Callable[[Path], Any], what: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(path)
    with pytest.raises(UserError, match=rf"own\.pt2 is not a program .* can load: {what}; export it with") as caught:
        read_checkpoint(TeacherSection(checkpoint=str(path)), DATASET, CPU)
    assert "\n" not in str(caught.value)


def test_a_branch_of_its_own_is_counted(tmp_path: Path) -> None:
    def branched(net: Net, x: Tensor) -> Tensor:
        x = net.features(x).flatten(1)
        return net.linear(torch.cond(x.mean() > 9, lambda y: y * 2, lambda y: y + 0, (x,)))

    network = read(Kind(branched).program(), tmp_path).network
    assert teacher_macs(Teacher(network, "", False), DATASET) == (CONV1 + CONV2 + 256 * 3,)
