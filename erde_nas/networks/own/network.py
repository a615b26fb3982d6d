"""A classifier of the user's own, as `torch.export` wrote it -> modules with its weights, and where it can be cut.

The answers are compared with the program's own: they are the same, or it is refused.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from erde_nas.errors import UserError
from erde_nas.networks.own.answers import answer_alone, check_steady, choose_answer, without_softmax
from erde_nas.networks.own.compare import check_same
from erde_nas.networks.own.cuts import Cut, find_cuts
from erde_nas.networks.own.functional import watch, with_known_sizes, with_results
from erde_nas.networks.own.inputs import check_one_input, check_straight, make_inputs, shape_of
from erde_nas.networks.own.listing import drawing, table
from erde_nas.networks.own.modules import with_linears, with_modules
from erde_nas.networks.own.pieces import pieces
from erde_nas.networks.programs.program import (
    EXPORT,
    Loaded,
    Program,
    describe_program,
    line_of,
    read_program,
    set_free,
)


@dataclass(frozen=True)
class OwnNetwork:
    """A user's network. `network` takes inputs (batch, *shape) of `dtype`, in any number, and gives the logits
    (batch, classes); it is in evaluation mode. `macs` are those of one input; `exact`: its answers are the program's
    bit for bit, not only but for the order of sums. `remarks` say in words what was assumed.
    """

    name: str
    network: fx.GraphModule
    shape: tuple[int, ...]
    dtype: torch.dtype
    classes: int
    cuts: tuple[Cut, ...]
    macs: int
    exact: bool
    remarks: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Numbers to be learned."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def __str__(self) -> str:
        """What it takes and gives, a drawing of it with its cuts, and their table."""
        shape, dtype = "×".join(map(str, self.shape)), str(self.dtype).removeprefix("torch.")
        head = [
            f"{self.name} takes {shape} ({dtype}) and gives {self.classes} logits: {self.parameters:,} parameters, "
            f"{self.macs / 1e6:.3g} M MACs, {len(self.cuts)} cuts",
            *(f"note: {remark}" for remark in self.remarks),
        ]
        draft = drawing(self.cuts, self.shape, self.classes)
        listed = table(self.cuts, self.macs, self.parameters, self.classes)
        return "\n".join(head) + f"\n\n{draft}\n\n{listed}"

    def pieces(self, numbers: Sequence[int]) -> list[nn.Module]:
        """Copies of what lies between the input, the cuts of these numbers (rising), and the logits.

        Run one after another, in evaluation mode, they do what the network does. Raises ValueError for other numbers.
        """
        numbers = list(numbers)
        if numbers != sorted(set(numbers)) or not all(0 <= number < len(self.cuts) for number in numbers):
            raise ValueError(f"cuts must be rising numbers from 0 to {len(self.cuts) - 1}, but got {numbers}")
        nodes = {node.name: node for node in self.network.graph.nodes}
        return list(pieces(self.network, [nodes[self.cuts[number].name] for number in numbers]))


def load_own(path: Path, example: Tensor | None = None) -> OwnNetwork:
    """Read a `.pt2` file. `example` (n, ...), n at least 3, are real inputs to try it on; otherwise noise is made.

    Raises UserError with one line that says why it cannot be used.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; {EXPORT}")
    return own_network(read_program(path, str(path)), str(path), example)


@torch.no_grad()
def own_network(exported: torch.export.ExportedProgram, name: str, example: Tensor | None = None) -> OwnNetwork:
    """As `load_own`, of a program; `name` is what messages call it."""
    check_straight(exported, name)
    check_one_input(exported, name)
    loaded = _described(exported, name)
    inputs = make_inputs(loaded, name, example)
    program, freed = _freed(loaded, inputs, name)
    outs = program(inputs)
    check_steady(program, inputs, outs, name)
    number, left = choose_answer(program, outs, name)
    plain = answer_alone(program, number, outs)
    seen = watch(plain, inputs)
    with_known_sizes(plain.graph, seen)
    with_linears(plain.graph, seen)
    network = with_modules(plain, seen)
    try:
        exact = check_same(network, exported, loaded, number, inputs)
    except UserError as error:
        raise UserError(f"{name} cannot be imported: {error}") from error
    left += without_softmax(network)
    cuts, macs = find_cuts(network, watch(network, inputs), inputs[:1])
    if not cuts:
        raise UserError(
            f"{name} cannot be cut: nowhere between its input and its logits is one tensor alone alive, so no exit "
            "could end there"
        )
    classes = int(network(inputs[:1]).shape[1])
    remarks = (*loaded.remarks, *filter(None, [freed]), *left)
    return OwnNetwork(name, network, shape_of(inputs), inputs.dtype, classes, cuts, macs, exact, remarks)


def _described(exported: torch.export.ExportedProgram, name: str) -> Loaded:
    """The program as a graph that writes into no tensor."""
    for functional in (False, True):
        form = _functional(exported) if functional else exported
        loaded = describe_program(form, name, dropout=True)
        if with_results(loaded.program.graph.graph):
            loaded.program.graph.recompile()
            return loaded
    raise UserError(f"{name} writes into a part of a tensor, as x[...] = y does, so it cannot be taken apart")


def _functional(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own
        return exported.run_decompositions({})


def _freed(loaded: Loaded, inputs: Tensor, name: str) -> tuple[Program, str]:
    """The program for any number of inputs, and in words what was found."""
    try:
        program, found = set_free(loaded.program, inputs)
        program(inputs)
    except Exception as error:  # any operator may refuse
        raise UserError(f"{name} cannot be run on inputs of its own shape: {line_of(error)}; {EXPORT}") from error
    if not program.batch.free:
        raise UserError(f"{name} takes {program.batch.text()}, and any number is needed; {EXPORT}")
    return program, found
