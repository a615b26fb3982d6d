"""MACs of every node of a graph, as `networks/macs.py` counts them: one multiply-add is one, all else is nothing."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


class _Counted(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, counter: FlopCounterMode) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self.counter = counter
        self.macs: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        found = super().run_node(n)
        self.macs[n] = (self.counter.get_total_flops() - before) // 2
        return found


@torch.no_grad()
def macs_by_node(graph: fx.GraphModule, one: Tensor) -> dict[fx.Node, int]:
    """Of a graph in evaluation mode, for one input (1, ...)."""
    with FlopCounterMode(display=False, custom_mapping={_CPU_ATTENTION: _attention}) as counter:
        counted = _Counted(graph, counter)
        counted.run(one)
    return counted.macs
