"""A plain graph as data: operators by name in JSON, tensors in safetensors, and back. Reading it executes nothing.

What is read is made of operators on tensors alone: a name that stands for anything else is refused. torch.fx writes
Python of a graph, with the names of inputs, modules and arguments in it: what could be more is refused, too.
"""

import keyword
import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from erde_nas.networks.programs import graph as plain_graphs
from erde_nas.networks.programs import sizes as plain_sizes

NAMESPACES = ("aten", "torchvision", "quantized_decomposed")
REFUSED = ("from_file", "_print", "_cuda_getCurrentRawStream")  # operators that reach beyond tensors
METHODS = ("size", "reshape", "expand", "repeat", "new_zeros", "new_ones", "new_full")
OPERATORS = (
    *("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "eq", "ne", "lt", "le", "gt", "ge"),
    *("and_", "or_", "not_"),
)
TORCH = ("zeros", "ones", "full", "arange", "empty", "split", "sym_int", "sym_float", "sym_max", "sym_min", "sym_not")
MATH = ("floor", "ceil", "trunc", "sqrt")
OWN = {"normalised": plain_graphs._normalised, "slice": plain_sizes._slice}
KINDS = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}
Written = dict[str, Any]


def dump_graph(plain: fx.GraphModule) -> tuple[list[Written], dict[str, Tensor]]:
    """The nodes, JSON-ready, and the tensors that they read, by name. Raises ValueError for what is no operator."""
    nodes, tensors = list[Written](), dict[str, Tensor]()
    for node in plain.graph.nodes:
        entry = {"op": node.op, "name": node.name, "target": dump_target(node)}
        entry |= {"args": dump_value(node.args), "kwargs": dump_value(dict(node.kwargs))}
        if node.op == "get_attr":
            found = operator.attrgetter(str(node.target))(plain)
            if isinstance(found, fx.GraphModule):  # a branch of its own
                entry["graph"], inner = dump_graph(found)
                tensors |= {f"{node.target}.{name}": tensor for name, tensor in inner.items()}
                nodes.append(entry)
                continue
            if not isinstance(found, Tensor):
                raise ValueError(f"'{node.target}' is a {type(found).__name__}, and no tensor")
            entry["parameter"] = isinstance(found, nn.Parameter)
            tensors[str(node.target)] = found.detach().cpu().clone().contiguous()
        nodes.append(entry)
    return nodes, tensors


def dump_target(node: fx.Node) -> Any:
    """What a node calls, JSON-ready. Raises ValueError for what is no operator."""
    target = node.target
    if isinstance(target, str):
        return target
    if isinstance(target, torch._ops.OpOverload):
        return ["ops", str(target)]
    if target is torch.ops.higher_order.cond:
        return ["higher", "cond"]
    name = str(getattr(target, "__name__", target))
    for kind, module in (("operator", operator), ("torch", torch), ("math", math)):
        if getattr(module, name, None) is target:
            return [kind, name]
    own = next((key for key, function in OWN.items() if function is target), None)
    if own is None:
        raise ValueError(f"'{name}' is no operator on tensors")
    return ["own", own]


def dump_value(value: Any) -> Any:
    """An argument of an operator, JSON-ready. Raises ValueError for what is none."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, int | float) and not isinstance(value, torch.SymInt | torch.SymFloat):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [dump_value(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): dump_value(item) for key, item in value.items()}}
    if isinstance(value, slice):
        return {"slice": [dump_value(value.start), dump_value(value.stop), dump_value(value.step)]}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for key, kind in KINDS.items():
        if isinstance(value, kind):
            return {key: str(value).removeprefix("torch.")}
    raise ValueError(f"{value!r:.60} is no argument of an operator")


def load_graph(nodes: list[Written], tensors: Mapping[str, Tensor]) -> fx.GraphModule:
    """The inverse of `dump_graph`. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
    root, graph, known = nn.Module(), fx.Graph(), dict[str, fx.Node]()
    for entry in nodes:
        op, name = entry["op"], entry["name"]
        args, kwargs = load_value(entry["args"], known), load_value(entry["kwargs"], known)
        if op == "output":
            known[name] = graph.output(args[0])
            continue
        target = load_target(op, entry["target"])
        if op == "get_attr" and "graph" in entry:
            inside = f"{entry['target']}."
            inner = {key.removeprefix(inside): tensor for key, tensor in tensors.items() if key.startswith(inside)}
            root.add_module(entry["target"], load_graph(entry["graph"], inner))
        elif op == "get_attr":
            _put(root, entry["target"], tensors[entry["target"]], entry["parameter"])
        known[name] = graph.create_node(op, target, args, kwargs, name)
    graph.lint()
    return fx.GraphModule(root, graph)


def load_target(op: str, target: Any) -> Any:
    """The inverse of `dump_target`. Raises what `load_graph` does for what is no operator on tensors."""
    if op in ("placeholder", "get_attr"):
        return attribute(target) if op == "get_attr" else identifier(target)
    if op == "call_method" and target in METHODS:
        return target
    if op != "call_function":
        raise ValueError(f"{op} {target!r} is no operator on tensors")
    kind, name = target
    if kind == "ops":
        space, packet, overload = name.split(".")
        if space not in NAMESPACES or packet in REFUSED:
            raise ValueError(f"{name} is no operator on tensors")
        found = getattr(getattr(getattr(torch.ops, space), packet), overload)
        if not isinstance(found, torch._ops.OpOverload):
            raise ValueError(f"{name} is no operator")
        return found
    if kind == "own":
        return OWN[name]
    if (kind, name) == ("higher", "cond"):
        return torch.ops.higher_order.cond
    module, names = {"operator": (operator, OPERATORS), "torch": (torch, TORCH), "math": (math, MATH)}[kind]
    if name not in names:
        raise ValueError(f"{kind}.{name} is no operator on tensors")
    return getattr(module, name)


def load_value(value: Any, known: Mapping[str, fx.Node]) -> Any:
    """The inverse of `dump_value`; `known` are the nodes by name."""
    if not isinstance(value, dict):
        return value
    ((kind, found),) = value.items()
    if kind == "node":
        return known[found]
    if kind == "float":
        return float(found)
    if kind in ("list", "tuple", "slice"):
        parts = [load_value(item, known) for item in found]
        return parts if kind == "list" else tuple(parts) if kind == "tuple" else slice(*parts)
    if kind == "dict":
        return {identifier(key): load_value(item, known) for key, item in found.items()}
    if kind == "device":
        return torch.device(found)
    made = getattr(torch, found)
    if not isinstance(made, KINDS[kind]):
        raise ValueError(f"{found!r} is no {kind}")
    return made


def identifier(name: Any) -> str:
    """The same, if it can be a name in Python. Raises ValueError otherwise."""
    if isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name):
        return name
    raise ValueError(f"{name!r:.60} is no name of an input or an argument")


def attribute(path: Any) -> str:
    """The same, if it can name a module or a tensor: torch.fx puts it between double quotes. Raises ValueError
    otherwise."""
    if isinstance(path, str) and path.isprintable() and not set(path) & set('"\\'):
        return path
    raise ValueError(f"{path!r:.60} is no name of a module or a tensor")


def _put(root: nn.Module, name: str, tensor: Tensor, parameter: bool) -> None:
    """The tensor at its place in the module, whose parts are made on the way."""
    *path, last = name.split(".")
    place = root
    for part in path:
        if not hasattr(place, part):
            place.add_module(part, nn.Module())
        place = getattr(place, part)
    if parameter:
        place.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    else:
        place.register_buffer(last, tensor)
