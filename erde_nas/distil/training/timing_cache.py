"""What was found out about speed on a machine, kept in the cache: no question is timed twice.

A question names the machine with its instructions, torch, the kind of network and of batch; the answer is a value that
JSON can hold. A damaged entry, or another question's, is asked again.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from erde_nas.cache import cache_dir
from erde_nas.device.instructions import BF16, has
from erde_nas.device.machine import cpu_features, cpu_name, usable_cores
from erde_nas.files import read_json, write_json


def bf16_may_help(device: torch.device) -> bool:
    """Whether bf16 is worth timing: on a CPU without instructions for it, it takes 25 to 64 times as long as fp32."""
    return device.type != "cpu" or has(BF16, cpu_features())


def remembered(question: dict[str, Any], ask: Callable[[], Any], fits: Callable[[Any], bool]) -> Any:
    """The answer of an earlier call, of whatever process on this machine, to the same question; else what `ask` gives.

    `fits` says whether a value can be an answer. Where the cache cannot be written, it is asked every time.
    """
    text = json.dumps(question, sort_keys=True)
    path = cache_dir() / "timings" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    try:
        saved = read_json(path)
        if saved["question"] == json.loads(text) and fits(saved["answer"]):
            return saved["answer"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not asked yet, or damaged
    answer = ask()
    with suppress(OSError):
        write_json(path, {"question": question, "answer": answer})
    return answer


def circumstances(network: nn.Module, images: Tensor) -> dict[str, Any]:
    """Machine, torch, and what kind of network takes what kind of batch: the part that all questions of speed share."""
    on_cpu = images.device.type == "cpu"
    tensors = [[name, list(t.shape), str(t.dtype)] for name, t in network.state_dict().items()]
    return {
        "machine": [cpu_name(), list(cpu_features()), len(usable_cores())],
        "device": "cpu" if on_cpu else torch.cuda.get_device_name(images.device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "network": [type(network).__qualname__, getattr(getattr(network, "arch", None), "id", None)],
        "tensors": hashlib.sha256(json.dumps(tensors).encode()).hexdigest()[:24],
        "batch": list(images.shape),
    }
