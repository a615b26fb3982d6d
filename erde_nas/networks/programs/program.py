"""A user's `torch.export` program: whatever batch, layout, precision and outputs it was exported with.

What is assumed of it is said in words (`remarks`); what cannot be used is refused with how to export it.
"""

import copy
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

from erde_nas.errors import UserError
from erde_nas.networks.programs.graph import depths, move_constants, only_outputs, outputs_of, plain_graph
from erde_nas.networks.programs.sizes import free_batch, with_plain_pools, with_sizes

ALIKE = 1e-3  # the largest difference of two logits that are the same, relative to the largest of them
TRIED = 16  # images at most, by which a program is tried
EXPORT = (
    'export it with torch.export.export(model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)) '
    "and torch.export.save"
)


@dataclass(frozen=True)
class Batch:
    """How many images a program takes at once."""

    least: int
    most: int | None

    @property
    def free(self) -> bool:
        return self.least <= 1 and self.most is None

    def text(self) -> str:
        """In words."""
        if self.least == self.most:
            return f"exactly {self.least} image{'s' if self.least > 1 else ''} at once"
        least = f"at least {self.least}" if self.least > 1 else ""
        most = f"at most {self.most}" if self.most is not None else ""
        return " and ".join(filter(None, (least, most))) + " images at once"


ANY = Batch(1, None)


class Program(nn.Module):
    """Images as the program wants them, in any number -> a tuple of tensors, one per output that was kept."""

    def __init__(self, graph: fx.GraphModule, batch: Batch, others: Sequence[Any], place: int) -> None:
        super().__init__()
        self.graph, self.batch, self.others, self.place = graph, batch, tuple(others), place

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(n, ...) -> tuple of (n, ...). Too few images are filled up with copies of the last one."""
        if self.batch.free or torch.jit.is_tracing():
            return self.run(images)
        parts = []
        for part in images.split(self.batch.most or max(len(images), self.batch.least)):
            missing = self.batch.least - len(part)
            filled = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing > 0 else part
            parts.append([out[: len(part)] for out in self.run(filled)])
        return tuple(torch.cat(outs) for outs in zip(*parts, strict=True))

    def run(self, images: Tensor) -> tuple[Tensor, ...]:
        """The graph itself, whatever its bounds."""
        inputs = (*self.others[: self.place], images, *self.others[self.place :])
        return self.graph.forward(*inputs)  # calling it would print a traceback where an operator refuses

    def kept(self, numbers: Sequence[int]) -> "Program":
        """The same with these outputs alone."""
        return Program(only_outputs(self.graph, numbers), self.batch, self.others, self.place)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Program":
        super()._apply(fn, recurse)
        tensor = next((tensor for tensor in (*self.parameters(), *self.buffers())), None)
        if tensor is not None:
            move_constants(self.graph, tensor.device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Program":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own
            return Program(copy.deepcopy(self.graph, memo), self.batch, self.others, self.place)


@dataclass(frozen=True)
class Loaded:
    """A program as its file describes it. `shape` is that of one image as it takes them, None where any size will do;
    `remarks` say in words what was assumed; `faithful`: it is run as it was exported, its mode and precision too.
    `notice`: what reading the file may have done."""

    program: Program
    shape: tuple[int | None, ...]
    dtype: torch.dtype
    remarks: tuple[str, ...]
    faithful: bool = True
    notice: str = ""

    def text(self) -> str:
        """What it takes and gives, in words."""
        size = "×".join("any" if size is None else str(size) for size in self.shape)
        batch = "any number of images" if self.program.batch.free else self.program.batch.text()
        outputs = len(outputs_of(self.program.graph))
        taken = f"takes {batch} of {size} as {str(self.dtype).removeprefix('torch.')}, gives {outputs} tensor"
        return "; ".join(filter(None, [taken + ("s" if outputs > 1 else ""), *self.remarks, self.notice]))


def read_program(path: Path, name: str) -> torch.export.ExportedProgram:
    """What a `.pt2` file holds; `name` is what messages call it. Raises UserError where it is damaged.

    Its maker's code may run in this process: for files of others there is `from_file.load_program`.
    """
    try:
        return torch.export.load(path)
    except Exception as error:  # torch.export raises many kinds for a damaged file
        what = what_it_is(path) or line_of(error)
        raise UserError(f"{name} is not a program that torch.export can load: {what}; {EXPORT}") from error


def describe_program(exported: torch.export.ExportedProgram, name: str, dropout: bool = False) -> Loaded:
    """A program as a plain graph, with its dropout layers or without. Raises UserError where it takes something else
    than one tensor."""
    inputs = [spec.arg for spec in exported.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    tensors = [number for number, arg in enumerate(inputs) if isinstance(arg, TensorArgument)]
    if len(tensors) != 1 or not all(isinstance(arg, TensorArgument | ConstantArgument) for arg in inputs):
        names = ", ".join(arg.name for arg in inputs)
        raise UserError(f"{name} must take images alone, but its inputs are {names or 'none'}; {EXPORT}")
    sample = next(node.meta["val"] for node in exported.graph.nodes if node.name == inputs[tensors[0]].name)
    try:
        graph, trained = plain_graph(exported, dropout)
    except Exception as error:
        raise UserError(f"{name} cannot be read as a plain graph: {line_of(error)}; {EXPORT}") from error
    others = [arg.value for arg in inputs if isinstance(arg, ConstantArgument)]
    tensors_out = [number for number, out in enumerate(outputs_of(graph)) if isinstance(out, fx.Node)]
    graph = only_outputs(graph, tensors_out)
    with_sizes(graph)
    remarks = ["it was exported in training mode: dropout is off, batch norms use what they hold"] if trained else []
    halves = {tensor.dtype for tensor in exported.state_dict.values()} & {torch.float16, torch.bfloat16, torch.float64}
    remarks += [
        f"its {str(dtype).removeprefix('torch.')} weights are used in float32" for dtype in sorted(halves, key=str)
    ]
    shape = tuple(size if isinstance(size, int) else None for size in sample.shape[1:])
    batch = _batch(sample.shape[0], exported.range_constraints) if sample.dim() else ANY
    return Loaded(Program(graph, batch, others, tensors[0]), shape, sample.dtype, tuple(remarks), not remarks)


def what_it_is(path: Path) -> str:
    """What another file than a program seems to be; empty where it is an archive of the right kind. Nothing is
    unpickled."""
    if not path.stat().st_size:
        return "it is empty"
    if not zipfile.is_zipfile(path):
        return "it is cut short, or of another kind"
    with zipfile.ZipFile(path) as archive:
        names = [name.rpartition("/")[2] for name in archive.namelist()]
    if "data.pkl" not in names:
        return ""
    return "it holds " + ("TorchScript (torch.jit.save)" if "constants.pkl" in names else "what torch.save wrote")


def _batch(size: Any, constraints: Any) -> Batch:
    if isinstance(size, int):
        return Batch(size, size)
    bounds = constraints.get(size.node.expr)
    if bounds is None:  # a multiple of something: it is tried
        return ANY
    most = int(bounds.upper) if bounds.upper < 2**31 else None
    return Batch(max(1, int(bounds.lower)), most)


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shape of every tensor in it, by the name of its node."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if isinstance(found, Tensor):
            self.shapes[n.name] = tuple(found.shape)
        return found


@torch.no_grad()
def settle(loaded: Loaded, images: Tensor) -> tuple[Program, str]:
    """The program for any number of `images` (n, ...), n at least 2, where trying shows that it answers alike; in words
    what was found. Poolings are made exportable for images of this size."""
    program = loaded.program
    batch = program.batch
    size = batch.least if batch.most is None else min(batch.most, max(batch.least, 2))
    seen = _Shapes(program.graph)
    seen.run(
        *program.others[: program.place],
        images[:1].repeat(size, *[1] * (images.dim() - 1)),
        *program.others[program.place :],
    )
    with_plain_pools(program.graph, seen.shapes)
    return set_free(program, images)


@torch.no_grad()
def set_free(program: Program, images: Tensor) -> tuple[Program, str]:
    """As `settle`, with the poolings as they are."""
    batch = program.batch
    if batch.free:
        return program, ""
    free = program.graph
    if batch.least == batch.most:
        entry = [node.target for node in free.graph.nodes if node.op == "placeholder"][program.place]
        free = free_batch(free, str(entry), batch.least)
    freed = Program(free, ANY, program.others, program.place)
    if _answers_alike(freed, program, images):
        return freed, f"it was exported for {batch.text()}; tried, it answers any number alike"
    return program, f"it takes {batch.text()}, so it is run in such batches"


def _answers_alike(freed: Program, program: Program, images: Tensor) -> bool:
    """Whether it gives for one image and for many what it gives within its own bounds."""
    beyond = [1, 3, (program.batch.most or 0) + 1]
    many = images.repeat(1 + max(beyond) // len(images), *[1] * (images.dim() - 1))
    for count in beyond:
        try:
            found = freed(many[:count])
        except Exception:  # any operator may refuse
            return False
        if not alike(found, program(many[:count])):
            return False
    return True


def alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two answers are the same but for the order of sums."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if isinstance(a, Tensor)]
    return all(
        a.shape == b.shape and bool((a - b).abs().max() <= ALIKE * max(1.0, float(b.abs().max()))) for a, b in pairs
    )


def unsteady(program: Program, inputs: Tensor, outs: Sequence[Any], one: str = "an image") -> str:
    """How the answers `outs` to these inputs change, when asked again or in other company; empty where they do not.
    `one` is what an input is called."""
    if not alike(outs, program(inputs)):
        return "answers differently when asked again"
    if not alike([out[:1] for out in outs], program(inputs[:1])):
        return f"answers {one} differently in other company, as a batch norm in training mode does"
    return ""


def exit_order(program: Program) -> list[int]:
    """The outputs, from the one that the fewest layers lead to, to the deepest."""
    depth = depths(program.graph)
    return sorted(range(len(outputs_of(program.graph))), key=lambda number: depth[number])


def line_of(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
