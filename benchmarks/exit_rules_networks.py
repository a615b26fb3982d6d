"""Trains the early-exit networks on which exit_rule_accuracy.py compares exit rules, and keeps their logits.

    python benchmarks/exit_rules_networks.py --data-dir DIR --work DIR [--shape NAME]... [--seeds N] [--epochs N]
        [--data cifar100]

Full-size CIFAR, labels alone (cross-entropy at every exit), one thread; 5,000 images are kept back for validation and
chosen alike for every seed. WORK/DATA-SHAPE-SEED.npz holds the logits of every exit on validation and test, the labels
and MACs per exit. What is there is not trained again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from erde_nas.data.dataset import Dataset, image_shape
from erde_nas.data.load import load_dataset
from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.timing_cache import bf16_may_help
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import accuracy_per_exit
from erde_nas.networks.seeded import seeded
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.network import StudentSection, student_arch
from erde_nas.recipe.optimizer import OptimizerSection

CPU = torch.device("cpu")
GAP = {"family": "resnet", "head": "gap"}
SHAPES = {
    "small-tail": StudentSection(**GAP, stem=8, depths=(1, 1, 3), widths=(8, 16, 32), exits=(2,)),
    "tail": StudentSection(**GAP, stem=16, depths=(1, 1, 3), widths=(16, 32, 64), exits=(2,)),
    "stages": StudentSection(**GAP, stem=8, depths=(2, 2, 2), widths=(8, 16, 32), exits=(1, 3)),
}


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="where the official binary files are")
    parser.add_argument("--work", type=Path, required=True, help="folder for the logits; kept")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="repeatable; all without it")
    parser.add_argument("--data", choices=("cifar10", "cifar100", "fashion-mnist-small"), default="cifar10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(DatasetSection(name=arguments.data, validation=0.1), arguments.data_dir)
    for shape in arguments.shape or SHAPES:
        for seed in range(arguments.seeds):
            path = arguments.work / f"{arguments.data}-{shape}-{seed}.npz"
            if not path.is_file():
                keep(path, SHAPES[shape], dataset, seed, arguments.epochs)


def keep(path: Path, shape: StudentSection, dataset: Dataset, seed: int, epochs: int) -> None:
    """Train a network of that shape and write what it answers."""
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{path.stem}: {text}, {time.perf_counter() - began:.0f} s", flush=True)

    arch = student_arch(shape, image_shape(dataset), len(dataset.classes))
    with seeded(seed):
        network = EarlyExitNetwork(arch, dataset.mean, dataset.std)
    macs = macs_per_exit(network)
    training = Training(
        network,
        Views(dataset.train, ViewsSection(crop_padding=4, flip=True), seed=seed, device=CPU),
        Objective(DistilSection(loss="ce"), macs, None),
        OptimizerSection(epochs=epochs, batch_size=256, learning_rate=0.2),
        targets=None,
        seed=seed,
        compute=Compute("bf16" if bf16_may_help(CPU) else "fp32", 1, 0.0),
        repetition=seed,
    )
    train(training, lambda done, of: say(f"epoch {done} of {of}"))
    splits = {"validation": dataset.validation, "test": dataset.test}
    logits = {name: all_logits(network, split.images) for name, split in splits.items()}
    np.savez(path, macs=macs, **logits, **{f"{name}_labels": split.labels for name, split in splits.items()})
    found = " / ".join(f"{share:.2%}" for share in accuracy_per_exit(logits["test"], dataset.test.labels))
    say(f"test {found} at {' / '.join(f'{m / 1e6:.1f}' for m in macs)} M MACs")


if __name__ == "__main__":
    main()
