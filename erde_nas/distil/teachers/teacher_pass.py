"""Running the teacher over whole views, without gradients, in fp32.

bf16 would be faster on some machines, but its rounding changes the teacher's answer to 0.3 to 1 % of the images, and
with it ERDE's mask; and what is kept would depend on the machine that made it.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.device.machine import usable_cores
from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.errors import UserError

BATCH = 512
MOST = 6e4  # of a logit; fp16 ends at 65,504
BATCH_PIXELS = BATCH * 64 * 64  # larger images come in smaller batches


class TeacherPass:
    """`network` on `views`. `shape` is that of its answer to one image: (exits, classes)."""

    @torch.no_grad()
    def __init__(self, network: nn.Module, views: Views) -> None:
        self.network, self.views = network, views
        order = torch.arange(len(views), device=views.device)
        first = views.batch(0, order[:1])
        logits = network(first)
        self.shape = (len(logits), logits[0].shape[-1])
        seen = network.prepare(first) if isinstance(network, ForeignTeacher) else first
        self.batch = max(1, min(BATCH, BATCH_PIXELS // (seen.shape[-1] * seen.shape[-2])))

    def view(self, number: int) -> Iterator[Tensor]:
        """The logits of all images of view `number`, in order: (batch, exits, classes) fp16 on the CPU.

        On a CPU every core takes a batch of its own: cores that share one wait for each other in every layer, and on a
        busy machine that takes many times as long.
        """
        order = torch.arange(len(self.views), device=self.views.device)
        batches = self.views.batches(number, order, self.batch, rest=True)
        workers = len(usable_cores()) if self.views.device.type == "cpu" else 1
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                while group := [images for _, images in itertools.islice(batches, workers)]:
                    yield from pool.map(self._logits, group, itertools.repeat(number))
            finally:
                torch.set_num_threads(threads)

    @torch.no_grad()
    def _logits(self, images: Tensor, number: int) -> Tensor:
        with whole_fp32(images.device):
            logits = torch.stack(self.network(images), 1)  # (batch, exits, classes)
        if not torch.isfinite(logits).all():
            raise UserError(
                f"the teacher's logits for view {number} are not all finite; use another checkpoint, or lower "
                "teacher.train.learning_rate"
            )
        return rounded(logits.float().cpu())


def whole_fp32(device: torch.device) -> AbstractContextManager[None]:
    """Meanwhile, convolutions on a GPU do not round their inputs to TF32, which has no more digits than fp16."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=torch.backends.cudnn.benchmark, allow_tf32=False)


def rounded(logits: Tensor) -> Tensor:
    """(..., classes) float32 -> fp16, in which the largest logit is the only largest one, too.

    Where rounding makes others equal to it, it is moved up by one unit in the last place.
    """
    half = logits.clamp(-MOST, MOST).half()
    best = logits.argmax(-1, keepdim=True)
    top = half.gather(-1, best)
    tied = (half == top).sum(-1, keepdim=True) > (logits == logits.gather(-1, best)).sum(-1, keepdim=True)
    above = torch.from_numpy(np.nextafter(top.numpy(), np.float16(np.inf)))
    return half.scatter(-1, best, torch.where(tied, above, top))
