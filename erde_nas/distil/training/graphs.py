"""A training step recorded as one CUDA graph: small students spend most of a step on launching kernels one by one.

Forward, backward, learning rate and update are replayed with a single launch. https://docs.pytorch.org/docs/stable/
notes/cuda.html#cuda-graphs (whole-network capture).
"""

import sys
import threading
from collections.abc import Callable

import torch

from erde_nas.distil.training.step_runner import StepRunner

WARM_UP = 3  # steps that let libraries choose their kernels and allocate their workspaces before the recording
_RECORDING = threading.Lock()  # one recording at a time, and no replay of another training's meanwhile


def fastest_step(runner: StepRunner, generator: torch.Generator) -> Callable[[], None]:
    """`runner.run` as it runs fastest on its device; a batch must be loaded.

    On a GPU that is a replay of its recording. What cannot be recorded runs as it is, and standard error says why.
    """
    if runner.device.type != "cuda":
        return runner.run
    before = [tensor.clone() for tensor in runner.state()]
    drawn = generator.get_state()
    try:
        return _record(runner, generator)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(f"training without a CUDA graph, which is slower: {reason}", file=sys.stderr)
        return runner.run
    finally:
        restore_(runner, before)
        generator.set_state(drawn)


@torch.no_grad()
def restore_(runner: StepRunner, before: list[torch.Tensor]) -> None:
    """Put the runner's state back to `before`, in place."""
    for tensor, old in zip(runner.state(), before, strict=True):
        tensor.copy_(old)


def _record(runner: StepRunner, generator: torch.Generator) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(runner.device)
    with _RECORDING:
        stream.wait_stream(torch.cuda.current_stream(runner.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                runner.run()
        torch.cuda.current_stream(runner.device).wait_stream(stream)
        graph.register_generator_state(generator)
        # thread_local: what other trainings do in their threads meanwhile must not break this recording
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            runner.run()

    def replay() -> None:
        with _RECORDING:
            graph.replay()

    return replay
