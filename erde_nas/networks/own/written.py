"""An imported network as JSON beside its numbers, and made again of both: no program and no pickle is needed.

Only what stands here can be named in the JSON: operators of ATen that make tensors of tensors, a few functions of
Python and torch on sizes, and the modules of `KINDS`.
"""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from erde_nas.errors import UserError
from erde_nas.networks.own.modules import KINDS, build, put
from erde_nas.networks.programs import graph as composed
from erde_nas.networks.programs import sizes

METHODS = ("size", "reshape", "expand", "repeat", "new_zeros", "new_ones", "new_full")
FUNCTIONS: dict[str, Any] = {
    **{f"operator.{name}": getattr(operator, name) for name in ("getitem", "mul", "add", "sub", "floordiv", "neg")},
    **{f"torch.{name}": getattr(torch, name) for name in ("zeros", "ones", "full", "arange", "empty", "split")},
    "slice": sizes._slice,
    "normalised": composed._normalised,
}
TEXTS = ("padding", "approximate", "rounding_mode", "mode", "indexing", "equation", "reduce")  # arguments of ATen
RETURNS = ("Tensor", "List[Tensor]")
TORCH = {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Conv": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    "BatchNorm": ("num_features", "eps", "momentum", "affine"),
    "Linear": ("in_features", "out_features", "bias"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine", "bias"),
    "GroupNorm": ("num_groups", "num_channels", "eps"),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "PReLU": ("num_parameters",),
    "Dropout": ("p",),
}


def written(network: fx.GraphModule) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """JSON-ready values, and the numbers by their names, each once. A network that was pruned is written as it is now.

    Raises UserError that names an operation which cannot be written.
    """
    modules: dict[str, Any] = {}
    nodes: list[dict[str, Any]] = []
    for node in network.graph.nodes:
        if node.op == "call_module":
            modules[str(node.target)] = _module(network.get_submodule(str(node.target)))
        args, kwargs = [_value(arg) for arg in node.args], {key: _value(value) for key, value in node.kwargs.items()}
        nodes.append({"name": node.name, "op": node.op, "target": _target(node), "args": args, "kwargs": kwargs})
    numbers: dict[str, Tensor] = {}
    tensors: dict[str, Any] = {}
    first: dict[int, str] = {}
    learned = dict(network.named_parameters(remove_duplicate=False))
    for name, tensor in (*learned.items(), *network.named_buffers(remove_duplicate=False)):
        if id(tensor) not in first:
            numbers[name] = tensor.detach().cpu().contiguous()
        tensors[name] = {"same_as": first.setdefault(id(tensor), name), "learned": name in learned}
    return {"nodes": nodes, "modules": modules, "tensors": tensors}, numbers


def rebuilt(values: Mapping[str, Any], numbers: Mapping[str, Tensor]) -> fx.GraphModule:
    """The network that `written` wrote, in evaluation mode. Raises UserError where it names what is not known here."""
    root = nn.Module()
    try:
        for path, (kind, arguments) in values["modules"].items():
            put(root, path, build(kind, {key: _read(value, {}) for key, value in arguments.items()}))
        made: dict[str, Tensor] = {}
        for path, entry in values["tensors"].items():
            name = entry["same_as"]
            fresh = numbers[name].clone()
            made.setdefault(name, nn.Parameter(fresh, fresh.is_floating_point()) if entry["learned"] else fresh)
            put(root, path, made[name])
        graph, nodes = fx.Graph(), dict[str, fx.Node]()
        for entry in values["nodes"]:
            args = tuple(_read(value, nodes) for value in entry["args"])
            kwargs = {key: _read(value, nodes) for key, value in entry["kwargs"].items()}
            target = _known(entry["op"], entry["target"])
            nodes[entry["name"]] = graph.create_node(entry["op"], target, args, kwargs, entry["name"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"what is written does not describe a network: {error!r}") from error
    graph.lint()
    return fx.GraphModule(root, graph).eval()


def _module(module: nn.Module) -> list[Any]:
    kind = type(module).__name__
    family = next((name for name in ARGUMENTS if kind.startswith(name)), None)
    if kind not in KINDS or family is None:
        raise UserError(f"a module {kind} cannot be written down")
    names = (*ARGUMENTS[family], *(("output_padding",) if "Transpose" in kind else ()))
    values = {name: getattr(module, name) for name in names}
    return [kind, {key: value is not None if key == "bias" else _value(value) for key, value in values.items()}]


def _target(node: fx.Node) -> str:
    if isinstance(node.target, str):
        return node.target if node.op != "call_method" else _checked(node.target, node.target in METHODS)
    if isinstance(node.target, torch._ops.OpOverload):
        return _checked(str(node.target), _makes_tensors(node.target))
    name = next((name for name, function in FUNCTIONS.items() if function is node.target), "")
    return _checked(name or str(node.target), bool(name))


def _checked(name: str, known: bool) -> str:
    if not known:
        raise UserError(f"the operation {name} cannot be written down")
    return name


def _makes_tensors(overload: Any) -> bool:
    """Whether an operator is of ATen, makes tensors, and neither takes a file's name nor changes what it is given."""
    schema = overload._schema
    texts = [argument.name for argument in schema.arguments if "str" in str(argument.type)]
    returns = all(str(value.type) in RETURNS for value in schema.returns) and bool(schema.returns)
    return overload.namespace == "aten" and returns and not schema.is_mutable and all(name in TEXTS for name in texts)


def _known(op: str, name: str) -> Any:
    """The target that is written as `name`. Raises KeyError for what is not allowed."""
    if op in ("placeholder", "output", "get_attr", "call_module"):
        return name
    if op == "call_method" and name in METHODS:
        return name
    if op == "call_function" and name in FUNCTIONS:
        return FUNCTIONS[name]
    space, _, rest = name.partition(".")
    packet, _, overload = rest.partition(".")
    if op == "call_function" and space == "aten" and packet.isidentifier() and overload.isidentifier():
        found = getattr(getattr(torch.ops.aten, packet), overload)
        if isinstance(found, torch._ops.OpOverload) and _makes_tensors(found):
            return found
    raise KeyError(f"{op} {name}")


def _value(value: Any) -> Any:
    """An argument as JSON: what JSON does not have is an object with one key."""
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, list):
        return [_value(part) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [_value(part) for part in value]}
    if isinstance(value, slice):
        return {"slice": [_value(part) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, float):
        return value if abs(value) < float("inf") else {"float": str(value)}
    for key, kind in TORCH.items():
        if isinstance(value, kind):
            return {key: str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": "cpu"}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise UserError(f"an argument {value!r:.60} cannot be written down")


def _read(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return [_read(part, nodes) for part in value]
    if not isinstance(value, dict):
        return value
    ((key, inner),) = value.items()
    if key == "node":
        return nodes[inner]
    if key in ("tuple", "slice"):
        parts = [_read(part, nodes) for part in inner]
        return tuple(parts) if key == "tuple" else slice(*parts)
    if key in TORCH:
        found = getattr(torch, inner)
        return found if isinstance(found, TORCH[key]) else _read({inner: None}, nodes)
    return {"float": float, "device": torch.device}[key](inner)
