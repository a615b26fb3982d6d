"""Whether modules answer as the program that they were made from."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.graph import CodeGen

from erde_nas.errors import UserError
from erde_nas.networks.programs.graph import outputs_of
from erde_nas.networks.programs.program import Loaded, alike


def program_answers(exported: torch.export.ExportedProgram, inputs: Sequence[Any]) -> list[Tensor]:
    """The tensors that a program gives, asked as it stands; `inputs` are flat."""
    found = fx.Interpreter(_flat(exported)).run(*inputs)
    return [out for out in found if isinstance(out, Tensor)]


def _flat(exported: torch.export.ExportedProgram) -> fx.GraphModule:
    graph = exported.module()
    graph.graph.set_codegen(CodeGen())
    return graph


def check_same(
    network: fx.GraphModule, exported: torch.export.ExportedProgram, loaded: Loaded, number: int, inputs: Tensor
) -> bool:
    """Whether its logits are those of output `number` bit for bit; False where only the order of sums differs.

    A program that was exported in training mode, or holds other weights than in fp32, is asked in the form in which it
    is used: in evaluation mode and fp32. Raises UserError that names the first operator whose result is another one.
    """
    program = loaded.program
    size = program.batch.least if program.batch.most is not None else max(program.batch.least, 2)
    some = inputs.repeat(-(-size // len(inputs)), *[1] * (inputs.dim() - 1))[:size]
    flat = (*program.others[: program.place], some, *program.others[program.place :])
    expected = program_answers(exported, flat) if loaded.faithful else program.graph.forward(*flat)
    wanted, found = expected[number].flatten(1), network(some)
    if torch.equal(found, wanted):
        return True
    if alike([found], [wanted]):
        return False
    reference = _flat(exported) if loaded.faithful else program.graph
    name = first_difference(network, some, reference, flat)
    raise UserError(
        f"its modules answer otherwise than the program, first in the operation {name}; please report it, with the "
        "operation's name"
    )


class _Kept(fx.Interpreter):
    """Keeps what every node gave, by its name."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self.kept: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        self.kept[n.name] = found.clone() if isinstance(found, Tensor) else found
        return found


def first_difference(network: fx.GraphModule, one: Tensor, reference: fx.GraphModule, flat: Sequence[Any]) -> str:
    """The name of the first operator of both graphs whose tensor differs by more than the order of sums."""
    ours, theirs = _Kept(network), _Kept(reference)
    ours.run(one)
    theirs.run(*flat)
    for name, found in ours.kept.items():
        wanted = theirs.kept.get(name)
        both = isinstance(found, Tensor) and isinstance(wanted, Tensor) and found.is_floating_point()
        if both and not alike([found], [wanted]):
            return name
    return str(outputs_of(network)[0])
