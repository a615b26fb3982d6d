"""Images per second that train one candidate: erde-nas against a plain distillation loop, alternated in one run.

    python benchmarks/training.py [--data-dir DIR] [--train-images 4000] [--epochs 4] [--rounds 3] [--candidates 16]
                                  [--device cpu|cuda] [--workers N] [--out benchmarks/results/training-cpu.csv]

The plain loop (plain_loop.py) has a live fp32 teacher and torch's DataLoader. erde-nas computes the teacher's logits
once for all candidates, chooses precision and layout by a calibration, and trains several candidates at once; its
figure includes its share (1 / candidates) of logits and calibration. Both train the same student, which has about a
tenth of the teacher's MACs, with the same loss and schedule. CIFAR-10 is read from --data-dir; without it, the digits.
Two rows, one for each way; medians, least and most are over rounds, accuracies over all networks that were trained.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from plain_loop import Augmented, plain_training
from torch.utils.data import DataLoader

from erde_nas.data.dataset import Dataset
from erde_nas.data.load import load_dataset
from erde_nas.data.views import Views
from erde_nas.device.machine import describe_machine
from erde_nas.distil.objective import Objective, cross_entropy_objective, teacher_exits
from erde_nas.distil.teachers.cached_logits import cached_logits
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.together import train_together
from erde_nas.distil.training.train import Training, train
from erde_nas.errors import TrainingFailed
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection

TEACHER = ((2, 2, 2), (32, 64, 128), 32)  # depths, widths, stem
STUDENT = ((1, 1, 1), (16, 32, 48), 16)
LOSS = DistilSection(loss="erde")
Row = dict[str, Any]


@dataclass
class Way:
    """What was seen of one way of training."""

    images_per_s: list[float] = field(default_factory=list)  # of each round
    accuracy: list[float] = field(default_factory=list)  # of each network, on test, at its last exit


@dataclass(frozen=True)
class Bench:
    """What both ways share."""

    dataset: Dataset
    views: Views
    teacher: EarlyExitNetwork
    options: OptimizerSection
    candidates: int
    workers: int
    device: torch.device

    def student(self, seed: int) -> EarlyExitNetwork:
        """An untrained student."""
        torch.manual_seed(seed)
        return build(self.dataset, *STUDENT).to(self.device)

    def objective(self, student: EarlyExitNetwork) -> Objective:
        """ERDE for this student."""
        return Objective(LOSS, macs_per_exit(student), KD(LOSS.temperature)).to(self.device)

    def exits(self, student: EarlyExitNetwork) -> tuple[int, ...]:
        """The teacher exits that its exits learn from."""
        macs = macs_per_exit(self.teacher)
        return tuple(teacher_exits(macs_per_exit(student), [m / macs[-1] for m in macs]))

    def test(self, student: EarlyExitNetwork) -> float:
        """Accuracy at the last exit on the test images."""
        logits = all_logits(student, self.dataset.test.images)
        return float((logits[-1].argmax(-1) == self.dataset.test.labels).mean())

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def build(dataset: Dataset, depths: tuple[int, ...], widths: tuple[int, ...], stem: int) -> EarlyExitNetwork:
    """A residual network with an exit at the end of each stage."""
    _, channels, size, _ = dataset.train.images.shape
    ends = [sum(depths[: i + 1]) - 1 for i in range(len(depths))]
    arch = make_arch(
        "resnet",
        image_shape=(channels, size, size),
        classes=len(dataset.classes),
        stem=stem,
        stages=[StageChoice(depth, width) for depth, width in zip(depths, widths, strict=True)],
        exits=[Exit(end, "gap") for end in ends],
    )
    return EarlyExitNetwork(arch, dataset.mean, dataset.std)


def prepare(arguments: argparse.Namespace) -> Bench:
    """Data and a trained teacher."""
    device = torch.device(arguments.device)
    name: Any = "cifar10" if arguments.data_dir else "digits"
    dataset = load_dataset(DatasetSection(name=name, train_limit=arguments.train_images), arguments.data_dir)
    augmentation = ViewsSection(crop_padding=4 if arguments.data_dir else 2, flip=bool(arguments.data_dir))
    views = Views(dataset.train, augmentation, seed=0, device=device, data=dataset.fingerprint)
    torch.manual_seed(0)
    teacher = build(dataset, *TEACHER).to(device)
    compute = Compute("bf16", torch.get_num_threads(), 0.0)
    options = OptimizerSection(epochs=arguments.teacher_epochs)
    objective = cross_entropy_objective(len(teacher.parts)).to(device)
    train(Training(teacher, views, objective, options, targets=None, seed=0, compute=compute))
    teacher.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    options = OptimizerSection(epochs=arguments.epochs)
    return Bench(dataset, views, teacher, options, arguments.candidates, arguments.workers, device)


def run_plain(bench: Bench, number: int, way: Way, loader_workers: int) -> None:
    """One candidate, with all threads."""
    torch.manual_seed(number)
    loader = DataLoader(
        Augmented(bench.dataset.train, bench.views.section),
        batch_size=bench.options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=loader_workers,
        persistent_workers=loader_workers > 0,
        pin_memory=bench.device.type == "cuda",
    )
    student = bench.student(number)
    begin = time.perf_counter()
    objective = bench.objective(student)
    plain_training(student, bench.teacher, bench.exits(student), objective, bench.options, loader)
    bench.wait()
    seen = bench.options.epochs * len(loader) * bench.options.batch_size
    way.images_per_s.append(seen / (time.perf_counter() - begin))
    way.accuracy.append(bench.test(student))


def run_cached(bench: Bench, number: int, way: Way) -> dict[str, Any]:
    """As many candidates as train at once, and their share of what all candidates share; how it was done."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ERDE_NAS_CACHE"] = folder  # every round computes the logits
        teacher = Teacher(bench.teacher, "benchmark", trained=True)
        logits = cached_logits(teacher, bench.views, bench.views.count(bench.options.epochs))
        logits = logits.clone()  # the file goes away
    logits_s = time.perf_counter() - begin
    compute = calibrate(lambda: bench.student(0), bench.views, bench.options.batch_size)
    shared_s = time.perf_counter() - begin
    students = [bench.student(number * bench.workers + i) for i in range(bench.workers)]
    begin = time.perf_counter()
    jobs = [
        Training(s, bench.views, bench.objective(s), bench.options, Targets(logits, bench.exits(s)), number, compute)
        for s in students
    ]
    for result in train_together(jobs, bench.workers):
        if isinstance(result, TrainingFailed):
            raise result
    bench.wait()
    seconds = (time.perf_counter() - begin) / len(jobs) + shared_s / bench.candidates
    batches = len(bench.views) // bench.options.batch_size
    way.images_per_s.append(bench.options.epochs * batches * bench.options.batch_size / seconds)
    way.accuracy += [bench.test(student) for student in students]
    return {"precision": compute.precision, "layout": compute.layout, "logits_s": round(logits_s, 2)}


def row(name: str, way: Way, ratios: list[float]) -> Row:
    """What is said of one way."""
    figures = way.images_per_s
    return {
        "way": name,
        "images_per_s": round(statistics.median(figures), 1),
        "least": round(min(figures), 1),
        "most": round(max(figures), 1),
        "rounds": len(figures),
        "times_plain": round(statistics.median(ratios), 2),
        "times_plain_least": round(min(ratios), 2),
        "times_plain_most": round(max(ratios), 2),
        "test_accuracy": round(statistics.mean(way.accuracy), 4),
        "test_accuracy_sd": round(statistics.stdev(way.accuracy), 4) if len(way.accuracy) > 1 else None,
        "networks": len(way.accuracy),
    }


def environment(bench: Bench) -> Row:
    """The conditions."""
    machine = describe_machine()
    student, teacher = macs_per_exit(bench.student(0))[-1], macs_per_exit(bench.teacher)[-1]
    return {
        "cpu": machine.cpu,
        "cores": machine.usable_cores,
        "device": torch.cuda.get_device_name() if bench.device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "data": bench.dataset.name,
        "train_images": len(bench.views),
        "image_size": bench.views.image_shape[1],
        "epochs": bench.options.epochs,
        "batch_size": bench.options.batch_size,
        "candidates": bench.candidates,
        "at_once": bench.workers,
        "student_macs": student,
        "teacher_macs": teacher,
        "macs_ratio": round(teacher / student, 1),
        "teacher_accuracy": round(bench.test(bench.teacher), 4),
        "load_average_after": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Alternate the two ways and write the CSV."""
    cores = torch.get_num_threads()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--teacher-epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=16, help="that share the teacher's logits")
    parser.add_argument("--workers", type=int, default=cores, help="candidates trained at once")
    parser.add_argument("--loader-workers", type=int, default=cores, help="of the plain loop's DataLoader")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    out = arguments.out or Path(__file__).parent / "results" / f"training-{arguments.device}.csv"
    bench = prepare(arguments)
    plain, cached, how = Way(), Way(), {}
    for number in range(arguments.rounds):
        run_plain(bench, number, plain, arguments.loader_workers)
        how = run_cached(bench, number, cached)
        print(f"round {number}: plain {plain.images_per_s[-1]:.0f}, erde-nas {cached.images_per_s[-1]:.0f} images/s")
    ratios = [ours / theirs for ours, theirs in zip(cached.images_per_s, plain.images_per_s, strict=True)]
    described = {"precision": "fp32", "layout": "contiguous", "logits_s": None}
    conditions = environment(bench)
    rows = [
        row("plain", plain, [1.0] * len(ratios)) | described | conditions,
        row("erde-nas", cached, ratios) | how | conditions,
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    accuracies = [f"{r['test_accuracy']:.3f}" for r in rows]
    print(f"{rows[1]['times_plain']:.1f} times the plain loop; accuracies {' and '.join(accuracies)}: {out}")


if __name__ == "__main__":
    main()
