"""Networks in plain PyTorch, as a user would have written them, and their programs."""

import warnings
from functools import cache

import torch
from torch import Tensor, nn


def exported(network: nn.Module, inputs: Tensor, decomposed: bool = False, **how) -> torch.export.ExportedProgram:
    """The program of a network in evaluation mode, for any number of inputs unless `how` says otherwise."""
    how = how or {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own
        program = torch.export.export(network, (inputs,), **how)
        return program.run_decompositions() if decomposed else program


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with every number drawn: a batch norm, a bias and a scale that say something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.dim() <= 1 and tensor.is_floating_point():
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * tensor[0].numel() ** -0.5)
    return network.eval()


class Residual(nn.Module):
    """ResNet-like: in-place ReLUs and sums, a projection where the resolution changes."""

    def __init__(self, widths=(8, 16), classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(True)
        )
        blocks, inputs = [], widths[0]
        for width in widths:
            for stride in (1 if width == widths[0] else 2, 1):
                blocks.append(ResidualBlock(inputs, width, stride))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.drop, self.fc = nn.Dropout(0.1), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1)
        return self.fc(self.drop(x.view(x.shape[0], -1)))


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.act, self.short = nn.ReLU(inplace=True), None
        if stride > 1 or inputs != width:
            self.short = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        out += x if self.short is None else self.short(x)
        return self.act(out)


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, width // 2, 1), nn.Conv2d(width // 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.expand(nn.functional.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(scale)


class InvertedBlock(nn.Module):
    def __init__(self, inputs: int, hidden: int, width: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish(),
            SqueezeExcite(hidden), nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.residual = stride == 1 and inputs == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Inverted(nn.Module):
    """MobileNetV3-like: depthwise convolutions, squeeze-excite, hardswish."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(),
            InvertedBlock(16, 32, 16, 1), InvertedBlock(16, 48, 24, 2), InvertedBlock(24, 48, 24, 1),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(24, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Dense(nn.Module):
    """DenseNet-like: every layer reads all before it in its block."""

    def __init__(self, growth: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(16 + growth * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(16 + growth * i, growth, 3, 1, 1, bias=False) for i in range(3))
        self.turn = nn.Sequential(nn.BatchNorm2d(16 + 3 * growth), nn.ReLU(), nn.Conv2d(16 + 3 * growth, 16, 1))
        self.fc = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            found.append(conv(torch.relu(norm(torch.cat(found, 1)))))
        x = nn.functional.avg_pool2d(self.turn(torch.cat(found, 1)), 2)
        return self.fc(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, places, width = x.shape
        parts = self.qkv(x).reshape(batch, places, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.out(mixed.transpose(1, 2).reshape(batch, places, width))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """ViT-like: patches, a class token, positions."""

    def __init__(self, width: int = 24, classes: int = 5) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 17, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, 3) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Audio(nn.Module):
    """1-D convolutions over a window of samples."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 8, 9, 4, 4), nn.BatchNorm1d(8), nn.ReLU(),
            nn.Conv1d(8, 16, 9, 4, 4), nn.BatchNorm1d(16), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x))


class Words(nn.Module):
    """A small transformer on token ids."""

    def __init__(self, words: int = 50, width: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width), nn.Embedding(12, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, 2) for _ in range(1))
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def images(count: int, size: int = 16, seed: int = 1) -> Tensor:
    """Noise (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def samples(name: str, count: int = 3, seed: int = 1) -> Tensor:
    """Inputs of one of `NETWORKS`."""
    generator = torch.Generator().manual_seed(seed)
    if name == "words":
        return torch.randint(0, 50, (count, 12), generator=generator)
    return torch.randn(count, 1, 64, generator=generator) if name == "audio" else images(count, seed=seed)


NETWORKS = {
    "residual": Residual,
    "inverted": Inverted,
    "dense": Dense,
    "transformer": Transformer,
    "audio": Audio,
    "words": Words,
}


@cache
def pair(name: str, decomposed: bool = False, any_batch: bool = True):
    """One of `NETWORKS` with its program, both to be left as they are."""
    network = trained(NETWORKS[name]())
    how = {} if any_batch else {"strict": False}
    return network, exported(network, samples(name), decomposed, **how)
