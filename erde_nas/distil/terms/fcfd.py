"""FCFD: Liu et al., Function-Consistent Feature Distillation, ICLR 2023 (arXiv 2304.11832).

Features are alike if they look alike (the squared difference behind a bridge) and if what follows makes the same of
them: the student's features run through the rest of the teacher, the teacher's through the rest of the student, and
both should end in the teacher's logits. Each step runs a few of these mixed paths, picked at random.

Exit by exit this is the paper's loss for the network that ends there: an exit is taught at its own hint points, and by
every picked path that changes over before its block. As in the published code:
- a path changes over at a hint point that blocks follow, never before a head alone;
- on the teacher's side a path's features are compared at the later hint points, too;
- the last hint point's features are those behind the last head's norm, if it has one;
- at an exit's block, what a head reads is compared as well: the averages over all pixels after a ReLU;
- plain KD belongs to the loss, and the weight of the squared differences rises over the first 20/240 of the training;
- mixed paths use the student's weights, but normalise by their own batch and leave no trace in its running statistics.
Other than there, the teacher is in eval mode.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from erde_nas.distil.logit_standardisation import standardise
from erde_nas.distil.losses import kd_loss
from erde_nas.distil.objective import rising, teacher_exits
from erde_nas.distil.step import Step, Term
from erde_nas.distil.terms.bridges import bridge, untracked
from erde_nas.distil.terms.hints import (
    WARMUP,
    autocast_like,
    hint_features,
    match_hints,
    mean_per_exit,
    with_deepest,
    with_features,
)
from erde_nas.networks.gradient_flow import WHOLE, GradientFlow
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection

Losses = list[tuple[int, Tensor]]
"""(exit, loss (batch,)), any number for each exit."""


@dataclass(frozen=True)
class FCFDOptions:
    """The weights of FCFD, and what its mixed paths must do as the student's own pass does."""

    temperature: float
    feature_weight: float = 5.0  # of the squared differences; published: 5, for ResNet-56 -> ResNet-20 0.02
    paths: int = 2  # mixed paths in each step
    seed: int = 0  # of the picks
    flow: GradientFlow = WHOLE  # back from the exits
    standardised: bool = False  # whether the step's logits are
    path_weight: float = 1.0  # of the logits of mixed paths; published: 1, for WRN-40-2 -> WRN-16-2 0.2


class FCFD(Term):
    """`exits` holds the teacher exit that each student exit learns from, as in the step's logits.

    The term refers to the student itself and to a frozen copy of the teacher; neither is a part of it.
    """

    needs_features = True
    own_weights = True
    uncached = "FCFD runs features through the teacher, which no cache can hold: each step also runs the teacher"

    def __init__(
        self, student: EarlyExitNetwork, teacher: EarlyExitNetwork, exits: Sequence[int], options: FCFDOptions
    ) -> None:
        super().__init__()
        self.options, self.exits = options, tuple(exits)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.hints = match_hints(student.arch, teacher.arch)
        self.networks = (student, copy.deepcopy(teacher).eval().requires_grad_(False))  # in a tuple: no sub-modules
        mine, theirs = (with_deepest(hint_features(network)) for network in (student, teacher))
        pairs = [(x, theirs[j]) for x, j in zip(mine, self.hints.teacher, strict=True)]
        self.to_teacher = nn.ModuleList(bridge(mine, target) for mine, target in pairs)
        taught = [self._taught(hint) for hint in range(len(pairs))]
        self.taught = {hint: exits for hint, exits in enumerate(taught) if exits}  # where paths may change over
        self.to_student = nn.ModuleDict({str(hint): bridge(*pairs[hint][::-1]) for hint in self.taught})

    def _taught(self, hint: int) -> list[int]:
        """The student exits that have blocks behind this hint point in both networks."""
        student, teacher = (network.arch.exits for network in self.networks)
        block, theirs = self.hints.blocks[hint], self.hints.teacher_blocks[hint]
        return [
            number
            for number, (mine, other) in enumerate(zip(student, self.exits, strict=True))
            if mine.block > block and teacher[other].block > theirs
        ]

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "FCFD":
        """See `Term.make`."""
        network = with_features(section, teacher)
        macs = macs_per_exit(network)
        exits = teacher_exits(macs_per_exit(student), [m / macs[-1] for m in macs], section.teacher_exits)
        options = FCFDOptions(
            section.temperature,
            section.feature_weight,
            flow=section.gradient_flow,
            standardised=section.method.logit_standardisation,
            path_weight=section.path_weight,
        )
        return cls(student, network, exits, options)

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        assert step.teacher is not None
        losses: Losses = list(enumerate(kd_loss(step.student, step.teacher, self.options.temperature)))
        mine, theirs = with_deepest(step.student_features), with_deepest(step.teacher_features)
        step = replace(step, student_features=mine, teacher_features=theirs)
        with autocast_like(step.student_features[-1]):
            bridged = [build(x) for build, x in zip(self.to_teacher, step.student_features, strict=True)]
            losses += [self._likeness(step, hint, x) for hint, x in enumerate(bridged)]
            paths, share = self._pick()
            for hint, into_teacher in paths:
                run = (
                    self._through_teacher(step, hint, bridged[hint])
                    if into_teacher
                    else self._through_student(step, hint)
                )
                losses += [(exit_, share * loss) for exit_, loss in run]
        return mean_per_exit(losses, weight)

    def _pick(self) -> tuple[list[tuple[int, bool]], float]:
        """(hint point, whether it leads from student to teacher) of this step's mixed paths, and their weight.

        A CUDA graph would repeat one pick for ever: in it all paths run, and each weighs as much as its chance.
        """
        candidates = [(hint, into_teacher) for hint in self.taught for into_teacher in (True, False)]
        count = min(self.options.paths, len(candidates))
        if candidates and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return candidates, count / len(candidates)
        order = torch.randperm(len(candidates), generator=self.generator).tolist()
        return [candidates[i] for i in order[:count]], 1.0

    def _through_teacher(self, step: Step, hint: int, x: Tensor) -> Losses:
        """The student's bridged features `x` through the rest of the teacher, read at its hint points and exits."""
        teacher, block = self.networks[1], self.hints.teacher_blocks[hint]
        logits, features = teacher.forward_after(block, x)
        features = with_deepest(features)
        losses = [
            self._agreement(step, exit_, logits[self.exits[exit_] - len(teacher.parts)]) for exit_ in self.taught[hint]
        ]
        for later in range(hint + 1, len(self.hints.blocks)):
            if self.hints.teacher_blocks[later] > block:
                passed = features[self.hints.teacher[later] - len(teacher.hint_blocks)]
                losses.append(self._likeness(step, later, passed))
        return losses

    def _through_student(self, step: Step, hint: int) -> Losses:
        """The teacher's bridged features through the rest of the student, read at its exits."""
        student, options = self.networks[0], self.options
        x = self.to_student[str(hint)](step.teacher_features[self.hints.teacher[hint]])
        with untracked(student):
            logits, _ = student.forward_after(self.hints.blocks[hint], x, options.flow)
        return [self._agreement(step, exit_, logits[exit_ - len(student.parts)]) for exit_ in self.taught[hint]]

    def _agreement(self, step: Step, exit_: int, logits: Tensor) -> tuple[int, Tensor]:
        """How far a path's logits are from what the teacher says for this student exit."""
        assert step.teacher is not None
        logits = standardise(logits.float()) if self.options.standardised else logits.float()
        return exit_, self.options.path_weight * kd_loss(logits, step.teacher[exit_], self.options.temperature)

    def _likeness(self, step: Step, hint: int, x: Tensor) -> tuple[int, Tensor]:
        """How far features `x` are from the teacher's at this hint point of the student."""
        exit_, target = self.hints.exits[hint], step.teacher_features[self.hints.teacher[hint]].float()
        loss = (x.float() - target).square().mean((1, 2, 3))
        if self.hints.blocks[hint] == self.networks[0].arch.exits[exit_].block:
            loss = loss + (x.float().relu().mean((2, 3)) - target.relu().mean((2, 3))).square().mean(1)
        return exit_, rising(step.done, WARMUP) * self.options.feature_weight * loss
