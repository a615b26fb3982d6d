"""Running the teacher over whole views, without gradients, in whichever precision is faster here."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.distil.foreign import ForeignTeacher
from erde_nas.distil.timings import bf16_may_help, circumstances, remembered
from erde_nas.errors import UserError
from erde_nas.machine import usable_cores

BATCH = 512
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
        self.bf16 = bf16_is_faster(network, views.batch(0, order[: self.batch]))

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
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            logits = torch.stack(self.network(images), 1)  # (batch, exits, classes)
        if not torch.isfinite(logits).all():
            raise UserError(
                f"the teacher's logits for view {number} are not all finite; use another checkpoint, or lower "
                "teacher.train.learning_rate"
            )
        return logits.float().clamp(-6e4, 6e4).half().cpu()


@torch.no_grad()
def bf16_is_faster(network: nn.Module, images: Tensor) -> bool:
    """Whether one batch takes less time under bf16 autocast here: timed once, and not on a CPU without bf16."""
    if not bf16_may_help(images.device):
        return False
    question = {"is faster": "bf16 autocast", **circumstances(network, images)}
    return bool(remembered(question, lambda: _bf16_took_less(network, images), lambda answer: isinstance(answer, bool)))


def _bf16_took_less(network: nn.Module, images: Tensor) -> bool:
    """Timed; the second run of each counts."""
    seconds = {}
    for bf16 in (False, True):
        for _ in range(2):
            begin = time.perf_counter()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                network(images)
            if images.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[bf16] = time.perf_counter() - begin
    return seconds[True] < seconds[False]
