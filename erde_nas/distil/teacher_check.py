"""Whether a teacher has something to teach: a student that learnt without it must not be better already.

Distillation from a teacher that is worse than its students costs them several points, whatever the loss (docs/erde.md).
So a student of middling size is trained briefly with cross-entropy, and compared with the teacher on validation.
"""

from dataclasses import replace

from torch import nn

from erde_nas.distil.context import TrainingContext
from erde_nas.distil.training.train import train
from erde_nas.distil.verdict import Verdict
from erde_nas.errors import TrainingFailed
from erde_nas.networks.arch import Arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import accuracy_per_exit
from erde_nas.recipe.distil import DistilSection


def check_teacher(context: TrainingContext, arch: Arch, teacher: float) -> Verdict:
    """Train `arch` as a candidate, but without the teacher, and compare the two. `teacher` is that one's accuracy."""
    network, section = context.build(arch), cross_entropy_alone(context.recipe.distil)
    try:
        train(context.training(network, context.recipe.train, section))
    except TrainingFailed:
        return Verdict(teacher, None)
    return Verdict(teacher, best_exit(network, context))


def without_teacher(context: TrainingContext) -> TrainingContext:
    """The same, but for students that learn from labels alone."""
    distil = cross_entropy_alone(context.recipe.distil)
    return replace(context, recipe=context.recipe.model_copy(update={"distil": distil}))


def learns_from_teacher(section: DistilSection) -> bool:
    """Whether the loss has a part in which the teacher plays a role."""
    return section.method.term != "none" or section.method.erde


def cross_entropy_alone(section: DistilSection) -> DistilSection:
    """Cross-entropy with the section's weights of the exits, and as much of their gradient for the trunk."""
    kept = {key: getattr(section, key) for key in ("exit_weights", "gradient_rescaling", "head_gradient")}
    return DistilSection.model_validate({"loss": "ce", **kept})


def best_exit(network: nn.Module, context: TrainingContext) -> float:
    """Accuracy of a network's best exit on validation, 0..1."""
    validation = context.dataset.validation
    return max(accuracy_per_exit(all_logits(network, validation.images), validation.labels))
