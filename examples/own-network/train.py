"""A ResNet-18-like network for CIFAR-10 in plain PyTorch, with its own normalisation -> model.pt2 and data.npz.

It stands for a classifier that somebody trained long before they heard of erde-nas, and needs none of it:

    python train.py --data-dir cifar --out own                                  # as wide as it is usual, at 64x64
    python train.py --data-dir cifar --out own --width 24 --size 32 --images 40000 --epochs 4   # a CPU in minutes

`--data-dir` holds CIFAR-10's official binary files. The network learns from the first images alone; the last 5,000 of
the 50,000 are kept for validation, so that data.npz has the parts that it was trained with.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
VALIDATION = 5000
RECORD = 1 + 3 * 32 * 32


class Block(nn.Module):
    """A residual block of ResNet-18 (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.skip = nn.Sequential()
        if stride > 1 or inputs != width:
            self.skip = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, h / stride, w / stride)."""
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.skip(x))


def resnet18(width: int, classes: int) -> nn.Sequential:
    """Four stages of two blocks; the first convolution halves the image."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage in range(4):
        for block in range(2):
            layers.append(Block(inputs, width << stage, 2 if stage and not block else 1))
            inputs = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def read(paths: list[Path], size: int) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10's binary files -> images (n, 3, size, size) uint8, labels (n,)."""
    records = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, RECORD) for path in paths])
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32))
    if size != 32:
        parts = [F.interpolate(part.float(), size=size, mode="bilinear") for part in images.split(1000)]
        images = torch.cat([part.round().clamp(0, 255).byte() for part in parts])
    return images.numpy(), records[:, 0].astype(np.int64)


def normalised(images: Tensor) -> Tensor:
    """(batch, 3, h, w) uint8 -> float32 with the network's own normalisation."""
    return (images.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the batch mirrored, all of it moved by up to an eighth of a side."""
    most = images.shape[-1] // 8
    flipped = torch.where(torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5, images, images.flip(-1))
    x, y = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    padded = F.pad(flipped, (most,) * 4)
    return padded[..., y : y + images.shape[-1], x : x + images.shape[-1]]


def train(network: nn.Module, images: Tensor, labels: Tensor, options: argparse.Namespace) -> None:
    """Cross-entropy, SGD with a one-cycle learning rate."""
    generator = torch.Generator().manual_seed(options.seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = len(images) // options.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=options.epochs * steps)
    for epoch in range(options.epochs):
        begin, total = time.monotonic(), 0.0
        network.train()
        for chosen in torch.randperm(len(images), generator=generator).split(options.batch_size)[:steps]:
            loss = F.cross_entropy(network(normalised(augmented(images[chosen], generator))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / steps:.3f}, {time.monotonic() - begin:.0f} s", flush=True)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share that the network gets right."""
    network.eval()
    answers = torch.cat([network(normalised(part)).argmax(1) for part in images.split(256)])
    return float((answers == labels).float().mean())


def main() -> None:
    """Train, export, and keep the data in the parts that were used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="CIFAR-10's binary files, or the folder above")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--size", type=int, default=64, help="of the images")
    parser.add_argument("--images", type=int, default=45_000, help="to learn from, at most 45,000")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.data_dir / "cifar-10-batches-bin"
    folder = folder if folder.is_dir() else options.data_dir
    images, labels = read([folder / f"data_batch_{number}.bin" for number in range(1, 6)], options.size)
    x_test, y_test = read([folder / "test_batch.bin"], options.size)
    count = min(options.images, len(images) - VALIDATION)
    parts = {
        "x_train": images[:count],
        "y_train": labels[:count],
        "x_val": images[-VALIDATION:],
        "y_val": labels[-VALIDATION:],
        "x_test": x_test,
        "y_test": y_test,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez(options.out / "data.npz", **parts)

    torch.manual_seed(options.seed)
    network = resnet18(options.width, classes=10)
    train(network, torch.from_numpy(parts["x_train"]), torch.from_numpy(parts["y_train"]), options)
    for part in ("val", "test"):
        x, y = torch.from_numpy(parts[f"x_{part}"]), torch.from_numpy(parts[f"y_{part}"])
        print(f"{part}: right on {accuracy(network, x, y):.1%}")

    example = normalised(torch.from_numpy(x_test[:2]))
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, options.out / "model.pt2")


if __name__ == "__main__":
    main()
