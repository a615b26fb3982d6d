"""Calls of a program's graph that name weights -> modules that hold them, under the names that the program has.

What is not on the list below stays a call, and its weights are parameters or buffers of the whole.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from erde_nas.networks.own.functional import Seen
from erde_nas.networks.programs.graph import ATEN, name_of

Made = tuple[str, dict[str, Any]]  # the class in torch.nn, and its arguments
WEIGHTS = ("weight", "bias", "running_mean", "running_var")


def with_modules(plain: fx.GraphModule, seen: Seen) -> fx.GraphModule:
    """A graph of the same nodes in which calls are modules, in evaluation mode; its parameters ask for gradients."""
    root = nn.Module()
    graph = fx.Graph()
    made: dict[Any, str] = {}
    copies: dict[fx.Node, fx.Node] = {}
    for node in plain.graph.nodes:
        call = _call(plain, node, seen)
        if call is None:
            copies[node] = graph.node_copy(node, lambda given: copies[given])
            copies[node].meta = {"place": place_of(node)}
            continue
        kind, arguments, sources, inputs = call
        key = (kind, repr(arguments), tuple(sources.items()), None if sources else node.name)
        if key not in made:
            made[key] = _free_name(root, sources, node)
            put(root, made[key], build(kind, arguments))
            _fill(root.get_submodule(made[key]), plain, sources)
        given = tuple(copies[source] for source in inputs)
        copies[node] = graph.create_node("call_module", made[key], given, name=node.name)
        copies[node].meta = {"place": place_of(node)}
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:  # a module holds it
            graph.erase_node(node)
        elif node.op == "get_attr" and not has(root, str(node.target)):
            put(root, str(node.target), tensor_at(plain, str(node.target)))
    whole = fx.GraphModule(root, graph)
    for parameter in whole.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return whole.eval()


def place_of(node: fx.Node) -> str:
    """The path of the module that a program's node belongs to; empty where the program does not say."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def build(kind: str, arguments: dict[str, Any]) -> nn.Module:
    """A module of torch.nn by the name of its class, if it is one that is made here. Raises KeyError."""
    if kind not in KINDS:
        raise KeyError(kind)
    module: nn.Module = getattr(nn, kind)(**arguments)
    return module


def put(root: nn.Module, path: str, value: nn.Module | Tensor) -> None:
    """Place a module, parameter or buffer at a dotted path; what is missing on the way is made."""
    *above, last = path.split(".")
    for name in above:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    if isinstance(value, nn.Module):
        root.add_module(last, value)
    elif isinstance(value, nn.Parameter):
        root.register_parameter(last, value)
    else:
        root.register_buffer(last, value)


def has(root: nn.Module, path: str) -> bool:
    """Whether there is a tensor or module at a dotted path."""
    try:
        return tensor_at(root, path) is not None
    except AttributeError:
        return False


def tensor_at(root: nn.Module, path: str) -> Any:
    """What is at a dotted path. Raises AttributeError."""
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _free_name(root: nn.Module, sources: dict[str, str], node: fx.Node) -> str:
    wanted = next(iter(sources.values()), "").rpartition(".")[0]
    name, number = wanted or node.name, 1
    while has(root, name) or any(part.startswith(f"{name}.") for part, _ in root.named_modules()):
        number += 1
        name = f"{wanted or node.name}_{number}"
    return name


def _fill(module: nn.Module, plain: fx.GraphModule, sources: dict[str, str]) -> None:
    """Let it hold the program's own tensors: what is shared stays shared."""
    for name, path in sources.items():
        tensor = tensor_at(plain, path)
        if name in module._parameters:
            module._parameters[name] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor)
        else:
            module._buffers[name] = tensor
    if "running_mean" in sources:
        counter = sources["running_mean"].replace("running_mean", "num_batches_tracked")
        if has(plain, counter):
            module._buffers["num_batches_tracked"] = tensor_at(plain, counter)


# --- which call is which module --------------------------------------------------------------------------------------


def _call(
    plain: fx.GraphModule, node: fx.Node, seen: Seen
) -> tuple[str, dict[str, Any], dict[str, str], list[fx.Node]] | None:
    """The module's class and arguments, the tensors that it holds by their places in the program, and its inputs."""
    made = MODULES.get(name_of(node))
    if made is None:
        return None
    given = arguments_of(node)
    weights = {name: given[name] for name in WEIGHTS if isinstance(given.get(name), fx.Node)}
    x = given.get("indices", given.get("input", given.get("self")))
    if not all(weight.op == "get_attr" for weight in weights.values()) or not isinstance(x, fx.Node):
        return None
    sources = {name: str(weight.target) for name, weight in weights.items()}
    rest = [value for name, value in given.items() if value is not x and name not in WEIGHTS]
    if x.op == "get_attr" or any(isinstance(value, fx.Node) for value in rest) or not seen.shape(x):
        return None
    tensors = {name: tensor_at(plain, path) for name, path in sources.items()}
    found = made(given, tensors, len(seen.shape(x) or ()))
    return None if found is None else (*found, sources, [x])


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """The arguments of an ATen call by their names in its schema, with the defaults of those that are not given."""
    schema = node.target._schema  # type: ignore[union-attr]
    given = {argument.name: argument.default_value for argument in schema.arguments}
    given |= dict(zip(given, node.args, strict=False))
    return {**given, **node.kwargs}


def _ints(value: Any, count: int) -> tuple[int, ...] | None:
    if isinstance(value, int):
        return (value,) * count
    values = tuple(value)
    return values * count if len(values) == 1 else values


def _convolution(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    weight = tensors.get("weight")
    if weight is None or weight.dim() != rank:
        return None
    axes, groups, transposed = weight.dim() - 2, given["groups"], given.get("transposed", "output_padding" in given)
    padding = given["padding"]
    arguments = {
        "in_channels": weight.shape[0] if transposed else weight.shape[1] * groups,
        "out_channels": weight.shape[1] * groups if transposed else weight.shape[0],
        "kernel_size": tuple(weight.shape[2:]),
        "stride": _ints(given["stride"], axes),
        "padding": padding if isinstance(padding, str) else _ints(padding, axes),
        "dilation": _ints(given["dilation"], axes),
        "groups": groups,
        "bias": "bias" in tensors,
    }
    if transposed:
        arguments["output_padding"] = _ints(given["output_padding"], axes)
    return f"Conv{'Transpose' if transposed else ''}{axes}d", arguments


def _linear(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    weight = tensors.get("weight")
    if weight is None or weight.dim() != 2:
        return None
    return "Linear", {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": "bias" in tensors}


def _batch_norm(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    if "running_mean" not in tensors or "running_var" not in tensors or ("weight" in tensors) != ("bias" in tensors):
        return None
    arguments = {
        "num_features": tensors["running_mean"].numel(),
        "eps": given["eps"],
        "momentum": given["momentum"],
        "affine": "weight" in tensors,
    }
    return {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}[rank], arguments


def _layer_norm(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    if "bias" in tensors and "weight" not in tensors:
        return None
    return "LayerNorm", {
        "normalized_shape": tuple(given["normalized_shape"]),
        "eps": given["eps"],
        "elementwise_affine": "weight" in tensors,
        "bias": "bias" in tensors,
    }


def _group_norm(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    if "weight" not in tensors or "bias" not in tensors:
        return None
    return "GroupNorm", {
        "num_groups": given["num_groups"],
        "num_channels": tensors["weight"].numel(),
        "eps": given["eps"],
    }


def _embedding(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    if "weight" not in tensors:
        return None
    count, width = tensors["weight"].shape
    padding = given["padding_idx"]
    return "Embedding", {
        "num_embeddings": count,
        "embedding_dim": width,
        "padding_idx": None if padding is None or padding < 0 else padding,
    }


def _prelu(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    return ("PReLU", {"num_parameters": tensors["weight"].numel()}) if "weight" in tensors else None


def _dropout(given: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> Made | None:
    return "Dropout", {"p": given["p"]}


MODULES: dict[str, Callable[[dict[str, Any], dict[str, Tensor], int], Made | None]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolution),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "embedding": _embedding,
    "prelu": _prelu,
    "dropout": _dropout,
}
KINDS = frozenset(
    [f"Conv{n}d" for n in (1, 2, 3)]
    + [f"ConvTranspose{n}d" for n in (1, 2, 3)]
    + [f"BatchNorm{n}d" for n in (1, 2, 3)]
    + ["Linear", "LayerNorm", "GroupNorm", "Embedding", "PReLU", "Dropout"]
)


# --- linear layers that decompositions took apart ---------------------------------------------------------------------


def with_linears(graph: fx.Graph, seen: Seen) -> None:
    """Put `addmm` and `mm` with a transposed weight together again, with the reshapes to rows and back around them, in
    place. `seen` learns of the new nodes."""
    for node in list(graph.nodes):
        name = name_of(node)
        if name not in ("addmm", "mm") or node.kwargs:
            continue
        bias, x, turned = node.args if name == "addmm" else (None, *node.args)
        weight = _turned(turned)
        if weight is None or not isinstance(x, fx.Node):
            continue
        inner, last = _rows_of(x, seen), node
        users = list(node.users)
        back = users[0] if inner is not None and len(users) == 1 and users[0].target == "reshape" else None
        if inner is not None and back is not None and _shape(seen, back)[:-1] == _shape(seen, inner)[:-1]:
            x, last = inner, back
        with graph.inserting_before(node):
            whole = graph.call_function(ATEN.linear.default, (x, weight, bias))
        whole.meta = dict(node.meta)
        for known in (seen.two, seen.three):
            known[whole] = known[last]
        last.replace_all_uses_with(whole)
    graph.eliminate_dead_code()


def _shape(seen: Seen, node: fx.Node) -> tuple[int, ...]:
    return seen.shape(node) or ()


def _turned(node: Any) -> fx.Node | None:
    """The weight that a node is the transpose of."""
    if not isinstance(node, fx.Node) or not node.args or not isinstance(node.args[0], fx.Node):
        return None
    axes = node.args[1:]
    turns = (name_of(node) == "t") or (name_of(node) == "permute" and list(axes[0]) == [1, 0])  # type: ignore[arg-type]
    turns = turns or (name_of(node) == "transpose" and axes in ((0, 1), (1, 0)))
    return node.args[0] if turns and node.args[0].op == "get_attr" else None


def _rows_of(x: fx.Node, seen: Seen) -> fx.Node | None:
    """What was reshaped to the rows (n, channels) `x`, if its last axis is the same."""
    source = x.args[0] if x.target == "reshape" else None
    if not isinstance(source, fx.Node) or len(_shape(seen, source)) < 3:
        return None
    return source if _shape(seen, source)[-1] == _shape(seen, x)[-1] else None
