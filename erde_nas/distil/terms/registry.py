"""The distillation term that a recipe's `distil` section names."""

from collections.abc import Callable

import torch

from erde_nas.distil.objective import teacher_exits
from erde_nas.distil.step import Term
from erde_nas.distil.terms.ctkd import CTKD
from erde_nas.distil.terms.dkd import DKD
from erde_nas.distil.terms.fcfd import FCFD, FCFDOptions
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.terms.mld import MLD
from erde_nas.distil.terms.reviewkd import ReviewKD
from erde_nas.errors import UserError
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection, TermName

CONNECTOR_SEED = 0  # of the first weights of what is trained along with the student

Make = Callable[[DistilSection, EarlyExitNetwork, EarlyExitNetwork | None], Term]


def _with_features(section: DistilSection, teacher: EarlyExitNetwork | None) -> EarlyExitNetwork:
    if teacher is None:
        raise UserError(
            f"distil: the loss '{section.loss}' with the term '{section.method.term}' compares features inside the "
            "networks, but this teacher (a .pt2 program or another library's model) gives logits alone; choose a loss "
            "on logits, such as erde, kd, dkd or mld, or a teacher of erde-nas (.safetensors with arch.json)"
        )
    return teacher


def _fcfd(section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> Term:
    network = _with_features(section, teacher)
    macs = macs_per_exit(network)
    exits = teacher_exits(macs_per_exit(student), [m / macs[-1] for m in macs], section.teacher_exits)
    options = FCFDOptions(
        section.temperature,
        section.feature_weight,
        rescale_gradients=section.gradient_rescaling,
        standardised=section.method.logit_standardisation,
        path_weight=section.path_weight,
    )
    return FCFD(student, network, exits, options)


TERMS: dict[TermName, Make] = {
    "kd": lambda section, student, teacher: KD(section.temperature),
    "dkd": lambda section, student, teacher: DKD(section.temperature, section.dkd_alpha, section.dkd_beta),
    "ctkd": lambda section, student, teacher: CTKD(len(student.arch.exits)),
    "mld": lambda section, student, teacher: MLD(section.level_temperatures, section.mld_levels),
    "reviewkd": lambda section, student, teacher: ReviewKD(student.arch, _with_features(section, teacher).arch),
    "fcfd": _fcfd,
}


def make_term(section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> Term | None:
    """The term for this student and teacher, on the student's device; None where the section names none.

    `teacher` is None where it is of the user's own, and gives logits alone.

    Raises UserError where the term needs features that the teacher does not give.
    """
    name = section.method.term
    if name == "none":
        return None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(CONNECTOR_SEED)
        term = TERMS[name](section, student, teacher)
    return term.to(next(student.parameters()).device)
