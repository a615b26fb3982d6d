"""Widths of pruned students: the same share of every layer, or from what each layer's channels are worth.

    python benchmarks/pruning_widths.py --data-dir DIR [--seeds 4] [--out benchmarks/results/pruning-widths.csv]

DIR holds the official files of CIFAR-10 (halved here to 16x16) and Fashion-MNIST (to 14x14). Three students are trained
from each seed and pruned to what shares of 0.5 and 0.7 leave, in three ways that are then trained on alike:

    uniform    every group of layers loses the share
    threshold  as FastNAS in NVIDIA's modelopt: every group alone is pruned to each of its widths, and takes the least
               width with which the loss on validation grows by no more than a threshold, which is the same for all
    price      every group takes the width of least growth + price x MACs saved

The latter two take the least threshold or price that leaves no more MACs than `uniform`, and then give groups more
channels, those first that gain most for their MACs, while there are MACs left. One row per student, seed,
share and way: the MACs of the last exit, test accuracy (mean of the exits, and of the last one), and the seconds of CPU
that the widths took. `latency_ratio` is the last exit's latency over that of `uniform`: fp32, ONNX Runtime, one
thread, one image, both alternated; of the first seed.
The committed table was cut short: four seeds of the VGG, one of the others, which is not complete.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from erde_nas.compression.prune import Groups, Pruning
from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.load import load_dataset
from erde_nas.data.views import Views
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.train import Training, train
from erde_nas.measurement.candidate_latency import latency_per_exit
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import load_profile

SHARES = (0.5, 0.7)
STUDENTS = (("cifar10", "resnet"), ("cifar10", "mobilenet"), ("fashion-mnist", "vgg"))
TRAIN = OptimizerSection(epochs=8, batch_size=128, learning_rate=0.1)
TUNE = OptimizerSection(epochs=3, batch_size=128, learning_rate=0.05)
IMAGES, JUDGED = 5_000, 512  # trained on; by which sensitivity is judged
Widths = dict[str, int]


@dataclass(frozen=True)
class Costs:
    """What pruning one group alone to one of its widths does: the loss that it adds, and the MACs that are left."""

    widths: tuple[int, ...]  # rising, the last is all
    growth: np.ndarray  # of the loss (widths,), falling to 0
    macs: np.ndarray  # (widths,)


def halved(split: Split) -> Split:
    """Means of 2x2 pixels."""
    n, channels, height, width = split.images.shape
    cells = split.images.reshape(n, channels, height // 2, 2, width // 2, 2)
    return replace(split, images=np.rint(cells.mean((3, 5))).astype(np.uint8))


def load(name: Any, data_dir: Path) -> Dataset:
    """Halved images, fewer of them to train on."""
    dataset = load_dataset(DatasetSection(name=name, validation=0.1, train_limit=int(IMAGES / 0.9)), data_dir)
    return replace(dataset, **{part: halved(getattr(dataset, part)) for part in ("train", "validation", "test")})


def make_student(family: str, dataset: Dataset, seed: int) -> EarlyExitNetwork:
    """Three stages of two blocks with an exit after each, trained."""
    stages = [StageChoice(2, width, 3, 3) for width in (32, 48, 64)]
    exits = [Exit(1, "gap"), Exit(3, "gap"), Exit(5, "gap")]
    shape = dataset.train.images.shape[1:]
    arch = make_arch(family, image_shape=shape, classes=10, stem=16, stages=stages, exits=exits)
    torch.manual_seed(seed)
    network = EarlyExitNetwork(replace(arch, stem_stride=2), dataset.mean, dataset.std)
    return trained(network, dataset, TRAIN, seed)


def trained(network: EarlyExitNetwork, dataset: Dataset, options: OptimizerSection, seed: int) -> EarlyExitNetwork:
    """The network, trained with cross-entropy at every exit."""
    views = Views(dataset.train, ViewsSection(crop_padding=1, flip=True), seed=seed, device=torch.device("cpu"))
    objective = cross_entropy_objective(len(network.segments))
    train(Training(network, views, objective, options, targets=None, seed=seed, compute=Compute("fp32", 1, 0.0)))
    return network.eval()


def loss_of(network: nn.Module, split: Split) -> float:
    """Mean cross-entropy of the exits."""
    with torch.no_grad():
        logits = network(torch.from_numpy(split.images[:JUDGED]))
    labels = torch.from_numpy(split.labels[:JUDGED])
    return float(sum(F.cross_entropy(out, labels) for out in logits) / len(logits))


def costs(network: EarlyExitNetwork, groups: Groups, split: Split, multiple: int) -> dict[str, Costs]:
    """Every group alone at each of its widths."""
    full = groups.widths(0.0, network)
    before, found = loss_of(network, split), {}
    for name, channels in full.items():
        widths = tuple(range(multiple, channels, multiple))
        cuts = [groups.cut({**full, name: width}) for width in widths]
        growth = np.array([loss_of(pruned.eval(), split) - before for pruned, _ in cuts] + [0.0])
        macs = np.array([exit_macs(arch)[-1] for _, arch in cuts] + [exit_macs(network.arch)[-1]], dtype=float)
        found[name] = Costs((*widths, channels), np.maximum.accumulate(growth[::-1])[::-1], macs)
    return found


def by_threshold(found: dict[str, Costs]) -> Iterator[Widths]:
    """Ever smaller widths: each group's least one whose loss grows by no more than a rising threshold."""
    for threshold in np.unique(np.concatenate([of.growth for of in found.values()])):
        yield {name: of.widths[int(np.argmax(of.growth <= threshold))] for name, of in found.items()}


def by_price(found: dict[str, Costs]) -> Iterator[Widths]:
    """Ever smaller widths: each group's best one at a rising price of a MAC."""
    last = None
    for price in np.geomspace(1e-11, 1e-3, 400):
        widths = {name: of.widths[int(np.argmin(of.growth + price * of.macs))] for name, of in found.items()}
        if widths != last:
            yield widths
        last = widths


def first_below(rows: Iterator[Widths], groups: Groups, macs: int) -> Widths:
    """The first of the widths with no more MACs."""
    every = list(rows)
    low, high = 0, len(every) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if exit_macs(groups.cut(every[middle])[1])[-1] <= macs else (middle + 1, high)
    return every[low]


def filled(widths: Widths, found: dict[str, Costs], groups: Groups, macs: int) -> EarlyExitNetwork:
    """What the widths leave, with more of them while there are MACs left."""
    pruned, arch = groups.cut(widths)
    while True:
        gains = []
        for name, of in found.items():
            at = of.widths.index(widths[name])
            if at + 1 < len(of.widths):
                wider = {**widths, name: of.widths[at + 1]}
                more = exit_macs(groups.cut(wider)[1])[-1]
                if more <= macs:
                    gains.append(((of.growth[at] - of.growth[at + 1]) / (more - exit_macs(arch)[-1]), wider))
        if not gains:
            return pruned
        widths = max(gains, key=lambda pair: pair[0])[1]
        pruned, arch = groups.cut(widths)


def ways(network: EarlyExitNetwork, share: float, split: Split) -> Iterator[tuple[str, EarlyExitNetwork, float]]:
    """The name, the network and the seconds of CPU of each way."""
    how = Pruning()
    groups = Groups(network, how, None)
    pruned, arch = groups.cut(groups.widths(share, network))
    macs = exit_macs(arch)[-1]
    yield "uniform", pruned, 0.0
    begin = time.process_time()
    found = costs(network, groups, split, how.multiple)
    spent = time.process_time() - begin
    for name, rows in (("threshold", by_threshold(found)), ("price", by_price(found))):
        begin = time.process_time()
        pruned = filled(first_below(rows, groups, macs), found, groups, macs)
        yield name, pruned, spent + time.process_time() - begin


def accuracies(network: EarlyExitNetwork, split: Split) -> np.ndarray:
    """Of each exit."""
    return (all_logits(network.eval(), split.images).argmax(-1) == split.labels).mean(-1)


def compare(data: str, family: str, dataset: Dataset, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of one student and seed."""
    network = make_student(family, dataset, seed)
    before = accuracies(network, dataset.test)
    profile = load_profile(resources.find("profiles", "cpu-1thread"))
    for share in SHARES:
        reference = None
        for way, pruned, seconds in ways(network, share, dataset.validation):
            arch = pruned.arch
            after = accuracies(trained(pruned, dataset, TUNE, seed), dataset.test)
            ratio: float | str = ""
            if seed == 0:
                reference = reference or pruned
                pair = [
                    [latency_per_exit(one, (profile,), dataset.validation.images)[profile.name][-1] for one in both]
                    for both in [(pruned, reference)] * 3
                ]
                ratio = round(float(np.median([ours / theirs for ours, theirs in pair])), 3)
            yield {
                "data": data, "family": family, "seed": seed, "share": share, "way": way,
                "macs": exit_macs(arch)[-1], "macs_before": exit_macs(network.arch)[-1],
                "test_accuracy_mean": round(float(after.mean()), 4), "test_accuracy_last": round(float(after[-1]), 4),
                "before_mean": round(float(before.mean()), 4), "before_last": round(float(before[-1]), 4),
                "latency_ratio": ratio, "widths_cpu_s": round(seconds, 2),
                "widths": " ".join(str(n) for block in arch.blocks for n in (block.hidden, block.width) if n),
            }  # fmt: skip


def main() -> None:
    """Write the rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--family", action="append", help="instead of all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pruning-widths.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    datasets = {data: load(data, arguments.data_dir) for data in dict(STUDENTS)}
    with arguments.out.open("w", newline="") as file:
        writer = None
        for seed in range(arguments.seeds):
            for data, family in STUDENTS:
                if arguments.family and family not in arguments.family:
                    continue
                for row in compare(data, family, datasets[data], seed):
                    writer = writer or csv.DictWriter(file, list(row))
                    if file.tell() == 0:
                        writer.writeheader()
                    writer.writerow(row)
                    file.flush()
                    print(*list(row.values())[:13], flush=True)


if __name__ == "__main__":
    main()
