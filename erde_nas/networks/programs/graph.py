"""A program of `torch.export` as a plain graph: flat inputs and outputs, in fp32, in evaluation mode, without guards.

Operators that only `run_decompositions` makes are put together again, since the exporter to ONNX does not know them.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate

ATEN = torch.ops.aten
ASSERTS = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size")
DROPOUTS = ("dropout", "dropout_", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")
TRAINED: dict[str, tuple[int, Any]] = {  # operators, and which argument says that they train
    **dict.fromkeys(DROPOUTS, (2, False)),
    "batch_norm": (5, False),
    "native_batch_norm": (5, False),
    "cudnn_batch_norm": (5, False),
    "_native_batch_norm_legit": (5, False),
    "_native_batch_norm_legit_functional": (5, False),
    "scaled_dot_product_attention": (4, 0.0),
}
NORMS = ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "cudnn_batch_norm")
COSTLY = ("conv", "linear", "mm", "matmul", "scaled_dot_product", "einsum")  # parts of the names of what takes MACs
Replacement = Callable[..., Any]


def plain_graph(program: torch.export.ExportedProgram, dropout: bool = False) -> tuple[fx.GraphModule, bool]:
    """The graph, whose inputs are the program's tensors and whose output is a flat tuple, and whether it was exported
    in training mode: batch norms use the statistics that they hold then. With `dropout` it keeps what drops nothing in
    evaluation mode, without it those calls are left out."""
    module = program.module()
    graph = module.graph
    graph.set_codegen(CodeGen())
    trained = False
    for node in list(graph.nodes):
        if node.target == "_guards_fn" or name_of(node) in ASSERTS or _writes_state(node):
            if node.users:
                node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            continue
        trained |= not _has_own_statistics(node) and _evaluate(node)
        node.args, node.kwargs = _in_fp32(node.args), _in_fp32(node.kwargs)
    _compose(graph, DROPOUTS[:1] if dropout else ())
    graph.eliminate_dead_code()
    plain = fx.GraphModule(module, graph)
    for parameter in plain.parameters():
        parameter.requires_grad_(False)
    return plain.float(), trained


def name_of(node: fx.Node) -> str:
    """The name of an ATen operator without its overload; of other nodes nothing."""
    target = node.target
    return target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else ""


def _writes_state(node: fx.Node) -> bool:
    """Whether it changes a buffer in place, such as the number of batches that a norm has seen."""
    first = node.args[0] if node.args else None
    return name_of(node) in ("add_", "copy_") and isinstance(first, fx.Node) and first.op == "get_attr"


def _has_own_statistics(node: fx.Node) -> bool:
    """Whether it is a norm that holds no statistics, such as an instance norm that was taken apart."""
    return getattr(node.target, "_overloadname", "") == "no_stats"


def _evaluate(node: fx.Node) -> bool:
    """Switch one operator to evaluation; whether it was in training mode."""
    name = name_of(node)
    place, off = TRAINED.get(name, (0, None))
    if off is None or (name.endswith("norm") and node.args[3] is None):  # a norm that holds no statistics
        return False
    trains = len(node.args) > place and bool(node.args[place])
    if trains:
        node.update_arg(place, off)
    return trains


def _in_fp32(arguments: Any) -> Any:
    half = (torch.float16, torch.bfloat16, torch.float64)
    return map_aggregate(arguments, lambda value: torch.float32 if value in half else value)


# --- operators that only decompositions make --------------------------------------------------------------------------


def _compose(graph: fx.Graph, kept: Sequence[str]) -> None:
    """Replace what `run_decompositions` made by what it made it from, but for operators of the names `kept`."""
    for node in list(graph.nodes):
        if name_of(node) in kept:
            continue
        composed = _own_norm if _has_own_statistics(node) else COMPOSED.get(name_of(node))
        if composed is None or (name_of(node) in NORMS and node.args[3] is None):
            continue
        with graph.inserting_before(node):
            whole = composed(graph, *node.args, **node.kwargs)
        if whole is not node.args[0]:
            whole.meta = dict(node.meta)
        parts = [user for user in node.users if user.target is operator.getitem]
        for user in parts:
            if user.args[1] == 0:
                user.replace_all_uses_with(whole)
        if not parts:
            node.replace_all_uses_with(whole)
        for unused in (*parts, node):  # what draws random numbers would be kept, and with it what leads there
            if not unused.users:
                graph.erase_node(unused)


def _call(target: Any) -> Replacement:
    return lambda graph, *args, **kwargs: graph.call_function(target, args, kwargs)


def _batch_norm(graph: fx.Graph, x: Any, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any) -> fx.Node:
    momentum, eps = rest[-2:]
    return graph.call_function(ATEN.batch_norm.default, (x, weight, bias, mean, var, False, momentum, eps, False))


def _own_norm(graph: fx.Graph, x: Any, weight: Any, bias: Any, _: Any, __: Any, eps: Any) -> fx.Node:
    return graph.call_function(_normalised, (x, weight, bias, eps))


def _normalised(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(n, c, ...) by the mean and variance of every channel, then scaled and shifted."""
    axes, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
    x = x - x.mean(axes, keepdim=True)
    x = x / ((x * x).mean(axes, keepdim=True) + eps).sqrt()
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _to_copy(graph: fx.Graph, x: Any, dtype: Any = None, **_: Any) -> fx.Node:
    return x if dtype is None else graph.call_function(ATEN.to.dtype, (x, dtype))


def _group_norm(  # noqa: PLR0913 (those of ATen's native_group_norm, behind the graph)
    graph: fx.Graph, x: Any, weight: Any, bias: Any, n: Any, c: Any, hw: Any, group: Any, eps: Any
) -> fx.Node:
    return graph.call_function(ATEN.group_norm.default, (x, group, weight, bias, eps))


def _attention(graph: fx.Graph, q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> fx.Node:
    kept: dict[str, Any] = {key: kwargs[key] for key in ("attn_mask", "scale") if key in kwargs}
    causal = bool(args[1]) if len(args) > 1 else kwargs.get("is_causal", False)
    return graph.call_function(ATEN.scaled_dot_product_attention.default, (q, k, v), {**kept, "is_causal": causal})


def _squeeze(graph: fx.Graph, x: Any, dims: Sequence[int]) -> fx.Node:
    for dim in sorted(dims, reverse=True):
        x = graph.call_function(ATEN.squeeze.dim, (x, dim))
    return x


def _same(graph: fx.Graph, x: fx.Node, *_: Any, **__: Any) -> fx.Node:
    return x


COMPOSED: dict[str, Replacement] = {
    "_native_batch_norm_legit_no_training": _batch_norm,
    **dict.fromkeys(NORMS, _batch_norm),
    "native_layer_norm": _call(ATEN.layer_norm.default),
    "native_group_norm": _group_norm,
    "max_pool2d_with_indices": _call(ATEN.max_pool2d.default),
    "_adaptive_avg_pool2d": _call(ATEN.adaptive_avg_pool2d.default),
    "_softmax": lambda graph, x, dim, _: graph.call_function(ATEN.softmax.int, (x, dim)),
    "_log_softmax": lambda graph, x, dim, _: graph.call_function(ATEN.log_softmax.int, (x, dim)),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": lambda graph, q, k, v, mask, _, *rest, **kwargs: _attention(
        graph, q, k, v, *rest, attn_mask=mask, **kwargs
    ),
    "squeeze": lambda graph, x, *dims: (
        _squeeze(graph, x, dims[0])
        if dims and isinstance(dims[0], list | tuple)
        else graph.call_function(ATEN.squeeze.dim if dims else ATEN.squeeze.default, (x, *dims))
    ),
    **dict.fromkeys(DROPOUTS, _same),
    "_to_copy": _to_copy,
    "alias": _same,
    "detach": _same,
    "detach_": _same,
    "lift_fresh_copy": _same,
    "clone": _same,
    "contiguous": _same,
}


# --- exits ------------------------------------------------------------------------------------------------------------


def depths(plain: fx.GraphModule) -> list[int]:
    """Of every output, how many operators that multiply and add lead to it."""
    before: dict[fx.Node, frozenset[fx.Node]] = {}
    for node in plain.graph.nodes:
        own = frozenset({node} if any(part in name_of(node) for part in COSTLY) else ())
        before[node] = own.union(*(before[source] for source in node.all_input_nodes))
    outputs = outputs_of(plain)
    return [len(before[node]) if isinstance(node, fx.Node) else 0 for node in outputs]


def outputs_of(plain: fx.GraphModule) -> list[Any]:
    """The nodes, or constants, that the graph gives."""
    given = next(node for node in plain.graph.nodes if node.op == "output").args[0]
    return list(given) if isinstance(given, list | tuple) else [given]


SHAPED = ("flatten", "squeeze", "unsqueeze", "view", "reshape", "to", "_to_copy", "mean", "select", "slice")


def last_operator(plain: fx.GraphModule, number: int) -> str:
    """The name of the operator that an output comes from, before its shape was changed."""
    node = outputs_of(plain)[number]
    while name_of(node) in SHAPED or node.target == "reshape":
        node = node.args[0]
    return name_of(node)


def only_outputs(plain: fx.GraphModule, numbers: Sequence[int]) -> fx.GraphModule:
    """A copy that gives a tuple of these outputs alone, and runs only what leads to them."""
    graph = fx.Graph()
    given = graph.graph_copy(plain.graph, {})
    every = list(given) if isinstance(given, list | tuple) else [given]
    graph.output(tuple(every[number] for number in numbers))
    graph.eliminate_dead_code()
    return fx.GraphModule(plain, graph)


def move_constants(plain: fx.GraphModule, device: torch.device) -> None:
    """What the graph makes itself is made on `device`."""
    for node in plain.graph.nodes:
        node.kwargs = {key: device if key == "device" and value is not None else value for key, value in
                       node.kwargs.items()}  # fmt: skip
    plain.recompile()
