"""How long the networks of a recipe take on this machine, for one that is still to be written."""

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.distil.context import pick_device
from erde_nas.distil.prepare import FORWARDS, pass_seconds
from erde_nas.distil.teachers.load import load_checkpoint
from erde_nas.distil.teachers.teacher import Teacher, teacher_arch
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.train import steps_per_epoch
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.suggested import Speed
from erde_nas.space.space import Space


def measured_speed(recipe: Recipe, dataset: Dataset) -> Speed:
    """Of its teacher, and of a middling student of its space, by a few steps of each. Raises UserError for a checkpoint
    that cannot be used."""
    device = pick_device("auto")
    views = Views(dataset.train, recipe.views, seed=recipe.search.seed, device=device, data=dataset.fingerprint)

    def epoch_s(arch: Arch, options: OptimizerSection) -> float:
        compute = calibrate(
            lambda: on_device(EarlyExitNetwork(arch, dataset.mean, dataset.std), device), views, options.batch_size
        )
        return compute.seconds_per_step * steps_per_epoch(views, options)

    _, *shape = dataset.train.images.shape
    space = Space(recipe.space, (shape[0], shape[1], shape[2]), len(dataset.classes))
    student_s = epoch_s(space.middle(), recipe.train)
    if recipe.teacher.checkpoint is not None:
        network, key = load_checkpoint(recipe.teacher, dataset, device)
        return Speed(0.0, student_s, pass_seconds(Teacher(network, key, trained=False), views))
    teacher_s = epoch_s(teacher_arch(recipe.teacher, dataset), recipe.teacher.train)
    return Speed(teacher_s, student_s, teacher_s / FORWARDS)
