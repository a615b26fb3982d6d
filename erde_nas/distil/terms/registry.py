"""The distillation term that a recipe's `distil` section names."""

from collections.abc import Callable

from erde_nas.distil.step import Term
from erde_nas.distil.teacher import Teacher
from erde_nas.distil.terms.kd import KD
from erde_nas.distil_section import DistilSection, TermName
from erde_nas.students.network import EarlyExitNetwork

Make = Callable[[DistilSection, EarlyExitNetwork, Teacher], Term]

TERMS: dict[TermName, Make] = {
    "kd": lambda section, student, teacher: KD(section.temperature),
}


def make_term(section: DistilSection, student: EarlyExitNetwork, teacher: Teacher) -> Term | None:
    """The term for this student and teacher, on the student's device; None where the section names none."""
    name = section.method.term
    if name == "none":
        return None
    return TERMS[name](section, student, teacher).to(next(student.parameters()).device)
