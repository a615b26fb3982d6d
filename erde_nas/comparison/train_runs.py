"""Train the student with every loss from every seed; what is finished is never trained again."""

import time
from collections.abc import Mapping
from pathlib import Path

from erde_nas.comparison.store import folder_of, save_run
from erde_nas.distil.train import Progress
from erde_nas.distil_section import DistilSection
from erde_nas.errors import TrainingFailed
from erde_nas.files import write_json
from erde_nas.measure.health import check_exits
from erde_nas.measure.macs import macs_per_exit
from erde_nas.progress import Meter
from erde_nas.recipe import OptimizerSection
from erde_nas.records import Arch
from erde_nas.shared import Shared
from erde_nas.students.infer import all_logits


def train_runs(
    out: Path, losses: Mapping[str, DistilSection], seeds: int, arch: Arch, shared: Shared, meter: Meter
) -> None:
    """All seeds of a loss differ in weights, dropout and order; all losses share views, targets and the seeds."""
    options = shared.recipe.finish.train
    jobs = [(name, section, seed) for seed in range(seeds) for name, section in losses.items()]
    jobs = [job for job in jobs if not (folder_of(out, job[1], job[2]) / "run.json").is_file()]
    unit = shared.training_seconds(options)
    meter.plan({"train": unit * len(jobs)})
    for number, (name, section, seed) in enumerate(jobs, start=1):
        folder = folder_of(out, section, seed)
        if (folder / "run.json").is_file():  # two names of one loss
            continue
        head = f"{number}/{len(jobs)} {name}, seed {seed}"

        def progress(done: int, total: int, head: str = head) -> None:
            meter.add("train", unit / total, f"{head}, epoch {done}/{total}")

        meter.say(f"train {head}: {train_one(folder, section, seed, arch, shared, options, progress)}")
    meter.close("train")


def train_one(
    folder: Path,
    section: DistilSection,
    seed: int,
    arch: Arch,
    shared: Shared,
    options: OptimizerSection,
    progress: Progress,
) -> str:
    """One run into `folder`; how it ended, in words."""
    begin = time.perf_counter()
    network = shared.build(arch, seed)
    try:
        loss = shared.distil(network, options, progress, section=section, repetition=seed)
        validation = all_logits(network, shared.dataset.validation.images)
        check_exits(validation)
    except TrainingFailed as error:
        write_json(folder / "run.json", {"failed": str(error), "section": section.model_dump(), "seed": seed})
        return f"failed: {error}"
    test = all_logits(network, shared.dataset.test.images)
    details = {
        "section": section.model_dump(),
        "seed": seed,
        "macs_per_exit": list(macs_per_exit(network)),
        "last_epoch_loss": loss,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    save_run(folder, validation, test, details)
    accuracy = (validation.argmax(-1) == shared.dataset.validation.labels).mean(1)
    return "validation accuracy per exit " + " / ".join(f"{100 * a:.1f}" for a in accuracy) + " %"
