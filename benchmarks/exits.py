"""Which training of an early exit pays: one shape, a good small network with an exit behind it and a tail.

    python benchmarks/exits.py DATA_DIR [--out CSV] [--seeds N] [--epochs N] [--images N] [--width N]

CIFAR-10, cross-entropy alone, bf16 where it is faster. The shape is a residual network of three blocks, 8, 16 and 32
wide (or more, with --width), each but the first at half the resolution; an exit; and behind it a block of 48 channels
at the same resolution.
Every variant is trained from the same first weights, in the same order of images. Thresholds are chosen on validation;
accuracies are on test: of each exit, and at each of BUDGETS. Rows that are in the CSV already are kept.
"""

import argparse
import csv
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.load import load_dataset
from erde_nas.data.views import Views
from erde_nas.device.machine import describe_machine
from erde_nas.distil.losses import cross_entropy
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch, with_exits, without_early_exits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.networks.operating_points import accuracy_per_exit, operate, operating_curve
from erde_nas.networks.seeded import seeded
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection

BUDGETS = (0.65, 0.7, 0.8, 0.9)  # mean MACs, as shares of the whole network's
SURE = 0.9  # probability above which a gated training lets an image leave
ALONE = "first exit alone, head "


class Gated(Objective):
    """Cross-entropy; a later exit learns from an image as far as earlier ones do not answer it: arXiv 2509.17885.

    `hard`: from those alone that an earlier exit gets wrong or is not SURE of. Otherwise each weighs one minus the
    probability that the earlier exit gives its right class.
    """

    def __init__(self, hard: bool, macs: tuple[int, ...]) -> None:
        super().__init__(DistilSection(loss="ce"), macs)
        self.hard = hard

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        loss = cross_entropy(step.student, step.labels.expand(step.student.shape[:-1]))  # (exits, batch)
        weight, rows = torch.ones_like(loss[0]), []
        for logits, row in zip(step.student.detach(), loss, strict=True):
            rows.append((weight * row).sum() / weight.sum().clamp(min=1))
            likely = logits.softmax(-1).gather(-1, step.labels[:, None])[:, 0]
            weight = weight * ((likely < SURE).float() if self.hard else 1 - likely)
        return torch.stack(rows).mean()


class Weighted(Objective):
    """Cross-entropy with given weights of the exits."""

    def __init__(self, weights: tuple[float, ...], macs: tuple[int, ...]) -> None:
        super().__init__(DistilSection(loss="ce"), macs)
        self.weights.copy_(torch.tensor(weights))


def plain(macs: tuple[int, ...], **keys: object) -> Objective:
    """Cross-entropy as a recipe's `distil` section has it."""
    return Objective(DistilSection.model_validate({"loss": "ce", **keys}), macs)


VARIANTS: dict[str, Callable[[tuple[int, ...]], Objective]] = {
    "joint": plain,
    "two-step": plain,
    "head_gradient 0.3": partial(plain, head_gradient=0.3),
    "head_gradient 0": partial(plain, head_gradient=0.0),
    "gated, hard": partial(Gated, True),
    "weights 1.4, 0.6 (leaving)": partial(Weighted, (1.4, 0.6)),
    "static, whole": plain,
    "weights 0.6, 1.4": partial(Weighted, (0.6, 1.4)),
    "gated, soft": partial(Gated, False),
    "self-distillation": lambda macs: Objective(DistilSection(loss="self-last"), macs),
    "gradient_rescaling": partial(plain, gradient_rescaling=True),
    "head_gradient 0.1": partial(plain, head_gradient=0.1),
    **{f"{ALONE}{head}": plain for head in ("gap", "erde", "pool2", "pool4", "conv")},
}


def shape(dataset: Dataset, width: int, head: str) -> Arch:
    """Three blocks with an exit, and a wider block behind it."""
    stages = [StageChoice(1, width * wider) for wider in (1, 2, 4)] + [StageChoice(1, width * 6, stride=1)]
    return make_arch(
        "resnet",
        image_shape=(3, 32, 32),
        classes=len(dataset.classes),
        stem=width,
        stages=stages,
        exits=[Exit(2, head), Exit(3, head)],
    )


class Bench:
    """What all trainings share."""

    def __init__(self, words: argparse.Namespace) -> None:
        self.dataset = load_dataset(DatasetSection(name="cifar10", validation=0.1), words.data)
        part = Split(self.dataset.train.images[: words.images], self.dataset.train.labels[: words.images])
        self.width, self.arch = words.width, shape(self.dataset, words.width, words.head)
        self.options = OptimizerSection(epochs=words.epochs, batch_size=128, learning_rate=0.2, weight_decay=5e-4)
        views = ViewsSection(crop_padding=4, flip=True, cached_views=words.epochs)
        self.views = Views(part, views, seed=0, device=torch.device("cpu"))
        self.compute = calibrate(lambda: self.build(self.arch, 0), self.views, self.options.batch_size)
        print(self.compute, len(self.views), "images")

    def build(self, arch: Arch, seed: int) -> EarlyExitNetwork:
        """Untrained; the trunk of every shape starts with the same weights."""
        with seeded(seed):  # the first layers are drawn first
            network = EarlyExitNetwork(arch, self.dataset.mean, self.dataset.std)
        return on_device(network, torch.device("cpu"))

    def train(self, network: EarlyExitNetwork, objective: Objective, seed: int) -> None:
        """By the project's own loop."""
        options = self.options
        train(Training(network, self.views, objective, options, None, seed, self.compute, repetition=seed))

    def trained(self, variant: str, seed: int) -> EarlyExitNetwork:
        """A network, trained as the variant says."""
        make, arch = VARIANTS[variant], self.arch
        if variant == "static, whole":
            arch = without_early_exits(arch)
        if variant.startswith(ALONE):
            arch = with_exits(shape(self.dataset, self.width, self.head_of(variant)), [0])
        network = self.build(arch, seed)
        if variant == "two-step":
            trunk = self.build(with_exits(arch, [0]), seed)
            self.train(trunk, make(macs_per_exit(trunk)), seed)  # its exit is a static network's
            network.segments[0] = trunk.segments[0].eval().requires_grad_(False)
            network.segments[0].train = lambda mode=True: network.segments[0]  # its batch norms rest, too
        self.train(network, make(macs_per_exit(network)), seed)
        return network.eval()

    def head_of(self, variant: str) -> str:
        """Of the exits of a variant."""
        return variant.removeprefix(ALONE) if variant.startswith(ALONE) else self.arch.exits[0].head

    def row(self, variant: str, seed: int) -> list[str]:
        """What came of one training."""
        begin = time.process_time()
        network = self.trained(variant, seed)
        seconds, macs = time.process_time() - begin, macs_per_exit(network)

        def answers(split: Split) -> np.ndarray:
            return all_logits(network, split.images)

        validation, test = self.dataset.validation, self.dataset.test
        chosen, judged = answers(validation), answers(test)
        curve = operating_curve(chosen, validation.labels, macs)
        at = []
        for budget in BUDGETS:
            within = [point for point in curve if point.cost <= budget * macs_per_exit(self.build(self.arch, 0))[-1]]
            if not within:
                at.append("")
                continue
            best = max(within, key=lambda point: point.accuracy)
            at.append(f"{100 * operate(judged, test.labels, macs, best.thresholds).accuracy:.2f}")
        exits = [f"{100 * accuracy:.2f}" for accuracy in accuracy_per_exit(judged, test.labels)]
        missing = [""] * (2 - len(exits))
        exits = [*exits, *missing] if variant.startswith(ALONE) else [*missing, *exits]
        return [variant, self.head_of(variant), str(seed), *exits, *at, f"{seconds:.0f}"]


def main(words: argparse.Namespace) -> None:
    header = [
        "variant",
        "head",
        "seed",
        "exit 1 %",
        "exit 2 %",
        *(f"% at {b:.0%} of the MACs" for b in BUDGETS),
        "cpu s",
    ]
    rows: list[list[str]] = []
    if words.out.exists():
        rows = list(csv.reader(line for line in words.out.open() if not line.startswith("#")))[1:]
    bench = Bench(words)
    macs = macs_per_exit(bench.build(bench.arch, 0))
    remark = f"# {describe_machine().cpu}, 1 thread, busy; {len(bench.views)} images, {words.epochs} epochs, "
    remark += f"width {words.width}, "
    for seed in range(words.first_seed, words.first_seed + words.seeds):
        for variant in VARIANTS:
            if (words.only and variant not in words.only) or [variant, bench.head_of(variant), str(seed)] in [
                row[:3] for row in rows
            ]:
                continue
            rows.append(bench.row(variant, seed))
            print(*rows[-1], flush=True)
            with words.out.open("w", newline="") as file:
                file.write(f"{remark}MACs per exit {macs}\n")
                csv.writer(file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    words = argparse.ArgumentParser()
    words.add_argument("data", type=Path)
    words.add_argument("--out", type=Path, default=Path("benchmarks/results/exits-cifar10.csv"))
    for name, default in (("seeds", 3), ("epochs", 8), ("images", 45_000), ("width", 8), ("first-seed", 0)):
        words.add_argument(f"--{name}", type=int, default=default)
    words.add_argument("--head", default="pool2", help="of both exits, but in the variants about heads")
    words.add_argument("--only", nargs="*", help="these variants")
    main(words.parse_args())
