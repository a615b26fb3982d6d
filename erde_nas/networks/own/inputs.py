"""What a program takes: one tensor of fixed shape, or the reason why it cannot be used; and inputs to try it on."""

import torch
from torch import Tensor, fx
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from erde_nas.errors import UserError
from erde_nas.networks.programs.graph import name_of
from erde_nas.networks.programs.program import EXPORT, Loaded

COUNT = 4  # inputs that a program is tried on
SEED = 0
BRANCHES = ("cond", "while_loop", "map_impl", "scan", "associative_scan", "switch")


def check_straight(exported: torch.export.ExportedProgram, name: str) -> None:
    """Raises UserError where what is run, or a shape, depends on what the inputs hold."""
    for module in exported.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            target = node.target
            higher = isinstance(target, torch._ops.HigherOrderOperator)
            if not (higher and str(target.name()) in BRANCHES) and not free_unbacked_symbols(node.meta.get("val")):
                continue
            what = f"{target.name()} ({node.name})" if higher else f"{name_of(node) or node.name} ({node.name})"
            raise UserError(
                f"{name} decides by its inputs' values what it runs, in {what}, so it cannot be cut into exits; export "
                "a network that runs the same operations for every input"
            )


def check_one_input(exported: torch.export.ExportedProgram, name: str) -> None:
    """Raises UserError where it takes another number of tensors than one."""
    inputs = [spec.arg for spec in exported.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    tensors = [arg.name for arg in inputs if isinstance(arg, TensorArgument)]
    others = [arg.name for arg in inputs if not isinstance(arg, TensorArgument | ConstantArgument)]
    if len(tensors) != 1 or others:
        names = ", ".join(tensors + others) or "none"
        raise UserError(
            f"{name} must take one tensor, but its inputs are {names}; export a module that takes one and makes the "
            "others itself"
        )


def make_inputs(loaded: Loaded, name: str, example: Tensor | None) -> Tensor:
    """At least three inputs (n, *shape) as the program wants them: `example`, repeated where those are fewer, or noise.

    Raises UserError where their shape is left open, or the example has another one.
    """
    dtype = torch.float32 if loaded.dtype.is_floating_point else loaded.dtype
    shape = [size for size in loaded.shape if size is not None]
    words = "×".join("any" if size is None else str(size) for size in loaded.shape)
    if example is None and len(shape) < len(loaded.shape):
        raise UserError(f"{name} takes inputs of {words}, and one shape is needed; {EXPORT}, its batch alone dynamic")
    if example is not None:
        fits = all(own in (None, size) for own, size in zip(loaded.shape, example.shape[1:], strict=False))
        if example.dim() != 1 + len(loaded.shape) or not len(example) or not fits:
            given = "×".join(map(str, example.shape[1:]))
            raise UserError(f"{name} takes inputs of {words}, but those given are of {given or 'no shape'}")
        return example.repeat(-(-COUNT // len(example)), *[1] * len(shape_of(example))).to(dtype)
    generator = torch.Generator().manual_seed(SEED)
    if dtype.is_floating_point:
        return torch.randn(COUNT, *shape, generator=generator)
    return torch.randint(0, _values(loaded.program.graph, dtype), (COUNT, *shape), generator=generator).to(dtype)


def shape_of(inputs: Tensor) -> tuple[int, ...]:
    """Without the batch."""
    return tuple(inputs.shape[1:])


def _values(graph: fx.GraphModule, dtype: torch.dtype) -> int:
    """How many values an integer may take: those that every embedding knows, else those of a pixel."""
    known = []
    for node in graph.graph.nodes:
        if name_of(node) == "embedding" and node.args[0].op == "get_attr":
            known.append(len(graph.get_parameter(str(node.args[0].target))))
    return min(known, default=2 if dtype == torch.bool else 127 if dtype == torch.int8 else 256)
