"""A recipe's `distil` section in, the distillation term that it names out."""

from typing import cast

from erde_nas.distil.step import Term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.seeded import seeded
from erde_nas.recipe.distil import NO_TERM, DistilSection
from erde_nas.registry import TERMS

CONNECTOR_SEED = 0  # of the first weights of what is trained along with the student


def make_term(section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> Term | None:
    """The term for this student and teacher, on the student's device; None where the section names none.

    `teacher` is None where it is of the user's own, and gives logits alone.

    Raises UserError where the term needs features that the teacher does not give.
    """
    name = section.method.term
    if name == NO_TERM:
        return None
    with seeded(CONNECTOR_SEED):
        term = cast(Term, TERMS[name].make(section, student, teacher))
    return term.to(next(student.parameters()).device)
