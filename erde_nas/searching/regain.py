"""Students of a shared study that other searches trained: their weights stay in those searches' folders."""

from collections.abc import Sequence

from erde_nas.errors import TrainingFailed
from erde_nas.networks.arch import Arch
from erde_nas.networks.weights import save_network
from erde_nas.run.run import Run
from erde_nas.searching.supernet.evaluator import candidate_maker


def regain(run: Run, names: Sequence[str]) -> list[str]:
    """Make what this run's folder lacks again, from the same seed; the names of those that are here then."""
    trials = {trial.student: trial for trial in run.store.trials()}
    here, make = [], candidate_maker(run.store.folder, run.shared)
    for name in names:
        folder = run.store.student(name)
        if not (folder / "weights.safetensors").is_file():
            run.meter.say(f"{name} was trained by another search; making it here again")
            metrics = trials[name].metrics
            try:
                network = make(Arch.from_dict(metrics["arch"]), run.shared)
            except TrainingFailed as error:
                run.meter.say(f"{name} failed here: {error}")
                continue
            save_network(network, folder)
            run.store.update_metrics(name, stage="searched", **metrics)
        here.append(name)
    return here
