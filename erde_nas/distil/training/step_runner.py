"""One training step over static inputs: `load` fills them, `run` does forward, backward and the update.

`run` reads tensors alone and always the same ones, so it can be recorded once as a CUDA graph and replayed (graphs.py).
The number of the step, its learning rate and the share of the training that is done are tensors that it advances.
"""

import torch
from torch import Tensor

from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.forward import MEMORY_FORMATS, features_of, forward
from erde_nas.distil.training.schedule import group_rates, make_optimizer, trained_of
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.optimizer import OptimizerSection


class StepRunner:
    """The step of one training of `steps` steps; `network` and `objective` are trained in place."""

    def __init__(
        self,
        network: EarlyExitNetwork,
        objective: Objective,
        options: OptimizerSection,
        *,
        steps: int,
        compute: Compute,
        teacher: EarlyExitNetwork | None = None,
    ) -> None:
        self.network, self.objective, self.compute, self.steps = network, objective, compute, steps
        self.teacher = teacher if objective.needs_features else None
        self.device = next(network.parameters()).device
        self._taken = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._loss_sum = torch.zeros((), device=self.device)
        self._rates = group_rates(options, steps).to(self.device)
        self._rate, self._smoothing = self._rates[:1].clone(), options.label_smoothing
        trained = trained_of(network.named_parameters(), objective.parameters())
        self._optimizer = make_optimizer(trained, options, self._rate)
        self._images: Tensor | None = None
        self._labels: Tensor | None = None
        self._teacher_logits: Tensor | None = None

    def load(self, images: Tensor, labels: Tensor, teacher: Tensor | None) -> None:
        """Copy a batch into the static inputs: images (batch, channels, h, w) uint8, labels (batch,), and teacher
        logits (exits, batch, classes) float32 or, in every step, None. All batches have the same shape."""
        if self._images is None:
            self._images = torch.empty_like(images, memory_format=MEMORY_FORMATS[self.compute.layout])
            self._labels = torch.empty_like(labels)
            self._teacher_logits = None if teacher is None else torch.empty_like(teacher).contiguous()
        for buffer, new in ((self._images, images), (self._labels, labels), (self._teacher_logits, teacher)):
            if buffer is not None and new is not None:
                buffer.copy_(new, non_blocking=True)

    def run(self) -> None:
        """Forward, backward and update on what was loaded last."""
        self._optimizer.zero_grad(set_to_none=True)
        torch.index_select(self._rates, 0, self._taken, out=self._rate)
        loss = self.objective(self._forward())
        loss.backward()
        self._optimizer.step()
        self._loss_sum += loss.detach()
        self._taken += 1

    def take_loss(self) -> float:
        """The sum of the steps' losses since this was last asked."""
        loss = float(self._loss_sum)
        self._loss_sum.zero_()
        return loss

    def _forward(self) -> Step:
        assert self._images is not None
        assert self._labels is not None
        logits, hints = forward(self.network, self._images, self.compute, self.objective.section.gradient_flow)
        return Step(
            student=logits,
            labels=self._labels,
            teacher=self._teacher_logits,
            done=(self._taken / self.steps).squeeze(),
            smoothing=self._smoothing,
            student_features=hints,
            teacher_features=features_of(self.teacher, self._images, self.compute),
        )

    def state(self) -> list[Tensor]:
        """Every tensor that `run` changes and the next `run` reads."""
        momenta = [tensor for state in self._optimizer.state.values() for tensor in state.values()]
        modules = (self.network, self.objective)
        weights = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        return [*weights, *momenta, self._taken, self._loss_sum]
