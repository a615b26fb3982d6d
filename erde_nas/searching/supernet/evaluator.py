"""`search.evaluator: supernet`: train the shared weights once, then make every candidate a slice of them."""

from pathlib import Path

from erde_nas.distil.context import TrainingContext
from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.run.context import RunContext
from erde_nas.searching.evaluate import Make, train_briefly
from erde_nas.searching.supernet.checkpoint import load, weights_file
from erde_nas.searching.supernet.norms import reestimate_
from erde_nas.searching.supernet.subnetworks import Subnetworks
from erde_nas.searching.supernet.train import train_family, training_seconds
from erde_nas.searching.supernet.weights import Weights, extract_

STAGE = "supernet"  # as the progress meter and the run's timings call it


class OneShot:
    """Candidates cut from the supernets of a run folder. Cheap to make and to pickle: weights are read when needed."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._weights: dict[str, Weights] = {}

    def __call__(self, arch: Arch, context: TrainingContext) -> EarlyExitNetwork:
        """`arch` with its slice of the shared weights and batch-norm statistics of its own.

        Raises UserError where the supernet of its family is not trained.
        """
        dataset, section = context.dataset, context.recipe.supernet
        network = extract_(EarlyExitNetwork(arch, dataset.mean, dataset.std), self._of(arch.family))
        chosen = context.views.order(0)[: section.norm_images]
        batches = context.views.batches(0, chosen, section.train.batch_size)
        return reestimate_(on_device(network, context.device), (images for _, images in batches))

    def __getstate__(self) -> dict[str, object]:
        return {"_folder": self._folder, "_weights": {}}

    def _of(self, family: str) -> Weights:
        if family not in self._weights:
            path = weights_file(self._folder, family)
            found = load(path)
            if found is None or found.momenta:
                raise UserError(f"{path} is not a trained supernet; run the search again on {self._folder}")
            self._weights[family] = found.weights
        return self._weights[family]


def candidate_maker(run_folder: Path, context: TrainingContext) -> Make:
    """How the recipe wants candidates made; a supernet must have been trained by `train_supernets`."""
    return OneShot(run_folder) if context.recipe.search.evaluator == "supernet" else train_briefly


def train_supernets(run: RunContext) -> None:
    """Train the supernet of every family of the space where the recipe wants one; what is trained is left alone."""
    context = run.context
    if context.recipe.search.evaluator != "supernet":
        return
    families = [Subnetworks(run.space, str(name)) for name in run.space.parameters["family"]]
    seconds = {family.name: training_seconds(family, context) for family in families}
    run.meter.plan({STAGE: sum(seconds.values())})
    with run.store.timed(STAGE):
        for family in families:
            share, before = seconds[family.name] / context.recipe.supernet.train.epochs, 0

            def progress(done: int, total: int, name: str = family.name, share: float = share) -> None:
                nonlocal before
                run.meter.add(STAGE, share * (done - before), f"{name} epoch {done}/{total}")
                before = done

            train_family(family, context, weights_file(run.store.folder, family.name), progress)
    run.meter.close(STAGE)
