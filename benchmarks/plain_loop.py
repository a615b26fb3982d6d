"""The loop that training.py is compared with: the structure of the public distillation code bases.

Every step augments each image by itself in torch's DataLoader, runs the teacher on the batch, and trains the student in
fp32. Nothing is shared between candidates. Loss, optimizer and schedule are those of erde-nas.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from erde_nas.data.dataset import Split
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.images import ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection


class Augmented(Dataset[tuple[Tensor, int]]):
    """One image at a time: a crop from a border of zeros, and a flip."""

    def __init__(self, split: Split, section: ViewsSection) -> None:
        self.split, self.section = split, section

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.split.images[index])  # (channels, h, w)
        height, width = image.shape[1:]
        padding = self.section.crop_padding
        if padding:
            top, left = (int(torch.randint(0, 2 * padding + 1, ())) for _ in range(2))
            image = F.pad(image, [padding] * 4)[:, top : top + height, left : left + width]
        if self.section.flip and torch.rand(()) < 0.5:
            image = image.flip(-1)
        return image.float(), int(self.split.labels[index])


def plain_training(
    student: EarlyExitNetwork,
    teacher: nn.Module,
    exits: Sequence[int],
    objective: Objective,
    options: OptimizerSection,
    loader: DataLoader[tuple[Tensor, int]],
) -> None:
    """Train `student` in place on whatever device it is. `exits` are the teacher exits that its exits learn from."""
    device = next(student.parameters()).device
    student.train()
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=True,
    )
    steps = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + 1, pct_start=0.3, cycle_momentum=False
    )
    for number, (images, labels) in enumerate(_epochs(loader, options.epochs)):
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.no_grad():
            taught = teacher(images)
        logits = student(images)
        step = Step(torch.stack(logits), labels, torch.stack([taught[e] for e in exits]), number / steps)
        loss = objective(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _epochs(loader: DataLoader[tuple[Tensor, int]], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(count):
        yield from loader  # type: ignore[misc]  # the loader collates what the data set gives one by one
