"""Sizes in a program's graph: those that depend on the batch as a tracer can see them, a fixed batch set free, and
adaptive poolings to sizes that ONNX cannot express, value for value.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import Argument, map_aggregate

from erde_nas.networks.programs.graph import name_of


def with_sizes(plain: fx.GraphModule) -> None:
    """Call what takes sizes as Python does, where a tracer sees which of them is the batch's."""
    for node in plain.graph.nodes:
        name = name_of(node)
        if name in ("sym_size", "size") and len(node.args) == 2:
            node.op, node.target = "call_method", "size"
        elif name in ("view", "_unsafe_view", "reshape"):
            node.op, node.target = "call_method", "reshape"  # unlike view it takes images of any strides
        elif name in ("expand", "repeat"):
            node.op, node.target = "call_method", name
            node.kwargs = {}
        elif name in ("zeros", "ones", "full", "arange", "empty", "split") and _has_nodes(node):
            node.target = _as_python(getattr(torch, name), node)
        elif name in ("new_zeros", "new_ones", "new_full") and _has_nodes(node):
            node.op, node.target = "call_method", name
        elif name == "slice" and _has_nodes(node):
            node.target = _slice
    plain.recompile()


def _has_nodes(node: fx.Node) -> bool:
    """Whether a size that depends on the input is among the arguments, besides the tensor itself."""
    found: list[fx.Node] = []
    map_aggregate((node.args, node.kwargs), lambda value: found.append(value) if isinstance(value, fx.Node) else None)
    return len(found) > (name_of(node) in ("new_zeros", "new_ones", "new_full", "slice", "split"))


def _as_python(function: Callable[..., Any], node: fx.Node) -> Callable[..., Any]:
    node.kwargs = {key: value for key, value in node.kwargs.items() if key in ("dtype", "device")}
    return function


def _slice(x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    return x[(slice(None),) * (dim % x.dim()) + (slice(start, end, step),)]


def free_batch(plain: fx.GraphModule, image: str, batch: int) -> fx.GraphModule:
    """A copy for any batch size of a graph that was exported for `batch` images, as far as leading sizes show it."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(plain.graph, {}))
    copied = fx.GraphModule(plain, graph)
    entry = next(node for node in graph.nodes if node.op == "placeholder" and node.target == image)
    with graph.inserting_after(entry):
        size = graph.call_method("size", (entry, 0))
    for node in list(graph.nodes):
        if node.target in ("reshape", "expand", "new_zeros", "new_ones", "new_full", "repeat"):
            sizes = node.args[1:] if isinstance(node.args[1], int) else node.args[1]
            if sizes and sizes[0] == batch:
                node.args = (node.args[0], [size, *sizes[1:]], *(() if sizes is node.args[1:] else node.args[2:]))
            elif node.target == "reshape" and sizes and isinstance(sizes[0], int) and -1 not in sizes:
                node.args = (node.args[0], [-1, *sizes[1:]])  # rows of all images, or what no batch changes
        elif name_of(node) in ("zeros", "ones", "full", "empty") and node.args[0] and node.args[0][0] == batch:
            node.args = ([size, *node.args[0][1:]], *node.args[1:])
            node.target = _as_python(getattr(torch, name_of(node)), node)
    graph.lint()
    copied.recompile()
    return copied


def with_plain_pools(plain: fx.GraphModule, shapes: dict[str, tuple[int, ...]]) -> None:
    """Replace adaptive poolings, whose input sizes (h, w) are in `shapes` by node, where they do not divide evenly."""
    for node in plain.graph.nodes:
        if name_of(node) in ("adaptive_avg_pool1d", "adaptive_max_pool1d"):
            _pool_in_line(node, shapes[node.args[0].name][-1])
        if name_of(node) not in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
            continue
        sizes, wanted = shapes[node.args[0].name][-2:], _pair(node.args[1])
        wanted = tuple(w if w is not None else s for w, s in zip(wanted, sizes, strict=True))
        if name_of(node) == "adaptive_avg_pool2d" and wanted == (1, 1):
            continue
        if name_of(node) == "adaptive_avg_pool2d":
            node.target, node.args = _pool_mean, (node.args[0], sizes, wanted)
        else:
            node.target, node.args = _pool_max, (node.args[0], sizes, wanted)
            for user in [user for user in node.users if user.target is operator.getitem and user.args[1] == 0]:
                user.replace_all_uses_with(node)
    plain.graph.eliminate_dead_code()
    plain.recompile()


def _pool_in_line(node: fx.Node, size: int) -> None:
    """Replace an adaptive pooling of (..., size)."""
    mean = name_of(node) == "adaptive_avg_pool1d"
    wanted: Any = node.args[1]
    node.target, node.args = _pool_line, (node.args[0], mean, size, wanted[0])
    for user in [user for user in node.users if not mean and user.target is operator.getitem and user.args[1] == 0]:
        user.replace_all_uses_with(node)


def _pair(value: Argument) -> tuple[Any, ...]:
    return tuple(value) * (2 // len(value)) if isinstance(value, list | tuple) else (value, value)


def _windows(size: int, wanted: int) -> list[tuple[int, int]]:
    """Where each output of an adaptive pooling looks, as PyTorch divides: from floor(i·s/w) to ceil((i+1)·s/w)."""
    return [(i * size // wanted, -(-(i + 1) * size // wanted)) for i in range(wanted)]


def _pool_mean(x: Tensor, sizes: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """(..., h, w) -> (..., *wanted): means of windows, which are products with two fixed matrices."""
    if all(size % target == 0 for size, target in zip(sizes, wanted, strict=True)):
        kernel = [size // target for size, target in zip(sizes, wanted, strict=True)]
        return torch.nn.functional.avg_pool2d(x, kernel, kernel)
    rows, columns = (_mean_matrix(size, target).to(x) for size, target in zip(sizes, wanted, strict=True))
    return rows @ (x @ columns.T)


def _mean_matrix(size: int, wanted: int) -> Tensor:
    matrix = torch.zeros(wanted, size)
    for i, (start, end) in enumerate(_windows(size, wanted)):
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def _pool_max(x: Tensor, sizes: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """(..., h, w) -> (..., *wanted): the largest of each window."""
    rows = torch.stack([x[..., start:end, :].amax(-2) for start, end in _windows(sizes[0], wanted[0])], -2)
    return torch.stack([rows[..., start:end].amax(-1) for start, end in _windows(sizes[1], wanted[1])], -1)


def _pool_line(x: Tensor, mean: bool, size: int, wanted: int) -> Tensor:
    """(..., size) -> (..., wanted)."""
    return (_pool_mean if mean else _pool_max)(x.unsqueeze(-2), (1, size), (1, wanted)).squeeze(-2)
