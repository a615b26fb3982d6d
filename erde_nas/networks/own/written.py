"""An imported network as JSON beside its tensors, and made again of both. Reading it executes nothing.

Only what stands here can be named in the JSON: operators on tensors (`programs/graph_file.py`), and the modules of
`KINDS`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from erde_nas.networks.own.modules import KINDS, build, put
from erde_nas.networks.programs.graph_file import attribute, dump_target, dump_value, load_target, load_value

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


def dump_network(network: fx.GraphModule) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """JSON-ready values, and the tensors by their names, each once. Raises ValueError for what cannot be written."""
    nodes, modules = [], {}
    for node in network.graph.nodes:
        if node.op == "call_module":
            modules[str(node.target)] = _module(network.get_submodule(str(node.target)))
        target = str(node.target) if node.op == "call_module" else dump_target(node)
        args, kwargs = dump_value(node.args), dump_value(dict(node.kwargs))
        nodes.append({"name": node.name, "op": node.op, "target": target, "args": args, "kwargs": kwargs})
    numbers, tensors, first = dict[str, Tensor](), dict[str, Any](), dict[int, str]()
    learned = dict(network.named_parameters(remove_duplicate=False))
    for name, tensor in (*learned.items(), *network.named_buffers(remove_duplicate=False)):
        if id(tensor) not in first:
            numbers[name] = tensor.detach().cpu().clone().contiguous()
        tensors[name] = {"same_as": first.setdefault(id(tensor), name), "learned": name in learned}
    return {"nodes": nodes, "modules": modules, "tensors": tensors}, numbers


def load_network(values: Mapping[str, Any], numbers: Mapping[str, Tensor]) -> fx.GraphModule:
    """The inverse of `dump_network`, in evaluation mode. Raises ValueError, KeyError, TypeError, AttributeError or
    RuntimeError for anything else."""
    root, made = nn.Module(), dict[str, Tensor]()
    for path, (kind, arguments) in values["modules"].items():
        put(root, path, build(kind, load_value(arguments, {})))
    for path, entry in values["tensors"].items():
        name = entry["same_as"]
        if name not in made:
            tensor = numbers[name]
            made[name] = nn.Parameter(tensor, tensor.is_floating_point()) if entry["learned"] else tensor
        put(root, path, made[name])
    graph, known = fx.Graph(), dict[str, fx.Node]()
    for entry in values["nodes"]:
        op, name = entry["op"], entry["name"]
        args, kwargs = load_value(entry["args"], known), load_value(entry["kwargs"], known)
        if op == "output":
            graph.output(*args)
            continue
        target = attribute(entry["target"]) if op == "call_module" else load_target(op, entry["target"])
        known[name] = graph.create_node(op, target, args, kwargs, name)
    graph.lint()
    return fx.GraphModule(root, graph).eval()


def _module(module: nn.Module) -> list[Any]:
    kind = type(module).__name__
    family = next((name for name in ARGUMENTS if kind.startswith(name)), None)
    if kind not in KINDS or family is None:
        raise ValueError(f"a module {kind} cannot be written down")
    names = (*ARGUMENTS[family], *(("output_padding",) if "Transpose" in kind else ()))
    values = {name: getattr(module, name) for name in names}
    return [kind, dump_value({key: value is not None if key == "bias" else value for key, value in values.items()})]
