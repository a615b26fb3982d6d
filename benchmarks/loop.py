"""CPU time of erde-nas's training loop against a tight one written by hand (tight_loop.py), alternated, on one thread.

    python benchmarks/loop.py [--data-dir DIR] [--train-images 1200] [--rounds 3] [--precision fp32|bf16]
                              [--out benchmarks/results/loop-cpu.csv]

Both train the same network on the same views and cached teacher logits, with the same loss, optimizer and schedule.
erde-nas makes its views within its time, those of the tight loop are there beforehand. CPU time is counted, not that
of the clock, so that a busy machine may do it. One row for a small and one for a large network; ratios are over rounds,
above 1 where erde-nas is faster.
"""

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tight_loop import tight_training
from training import LOSS, STUDENT, TEACHER, build

from erde_nas.data.dataset import Dataset
from erde_nas.data.load import load_dataset
from erde_nas.data.views import Views
from erde_nas.device.machine import describe_machine
from erde_nas.distil.objective import Objective
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection


def cpu_seconds(work: Callable[[], object]) -> float:
    """Seconds that the process computed."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(dataset: Dataset, shape: Any, compute: Compute, rounds: int) -> dict[str, Any]:
    """The row of one network."""
    section = ViewsSection(crop_padding=4 if dataset.name == "cifar10" else 2, flip=dataset.name == "cifar10")
    options = OptimizerSection(epochs=1)
    count = len(dataset.train) // options.batch_size * options.batch_size
    logits = torch.randn(1, len(dataset.train), 3, len(dataset.classes), generator=torch.Generator().manual_seed(0))
    ours, tight = [], []
    for number in range(rounds + 1):  # the first is not counted
        views = Views(dataset.train, section, seed=number, device=torch.device("cpu"))
        own, other = (build(dataset, *shape) for _ in range(2))
        training = Training(own, views, objective(own), options, Targets(logits.half(), (0, 1, 2)), number, compute)
        ours.append(cpu_seconds(lambda training=training: train(training)))
        pixels, loss = [views.view(0)], objective(other)
        tight.append(
            cpu_seconds(
                lambda other=other, pixels=pixels, loss=loss, views=views: tight_training(
                    other, pixels, views.labels, logits.half(), loss, options, compute
                )
            )
        )
    ratios = [theirs / mine for mine, theirs in zip(ours[1:], tight[1:], strict=True)]
    return {
        "macs": macs_per_exit(build(dataset, *shape))[-1],
        "images_per_cpu_s": round(count / statistics.median(ours[1:]), 1),
        "tight_images_per_cpu_s": round(count / statistics.median(tight[1:]), 1),
        "times_tight": round(statistics.median(ratios), 3),
        "times_tight_least": round(min(ratios), 3),
        "times_tight_most": round(max(ratios), 3),
    }


def objective(network: EarlyExitNetwork) -> Objective:
    """ERDE for this network."""
    return Objective(LOSS, macs_per_exit(network), KD(LOSS.temperature))


def main() -> None:
    """Measure both networks and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--train-images", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "loop-cpu.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name: Any = "cifar10" if arguments.data_dir else "digits"
    dataset = load_dataset(DatasetSection(name=name, train_limit=arguments.train_images), arguments.data_dir)
    compute, machine = Compute(arguments.precision, 1, 0.0), describe_machine()
    conditions = {
        "rounds": arguments.rounds,
        "precision": arguments.precision,
        "train_images": len(dataset.train),
        "image_size": dataset.train.images.shape[-1],
        "batch_size": 128,
        "cpu": machine.cpu,
        "torch": torch.__version__,
        "data": name,
        "load_average": round(os.getloadavg()[0], 2),
    }
    rows = [measure(dataset, shape, compute, arguments.rounds) | conditions for shape in (STUDENT, TEACHER)]
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for found in rows:
        print(f"{found['macs'] / 1e6:.1f} M MACs: {found['times_tight']} times the tight loop")


if __name__ == "__main__":
    main()
