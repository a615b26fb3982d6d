"""What a network gives: its logits, by which its import is judged."""

import torch
from torch import Tensor, fx

from erde_nas.errors import UserError
from erde_nas.networks.own.functional import put_value
from erde_nas.networks.programs.graph import name_of, only_outputs
from erde_nas.networks.programs.program import EXPORT, Program, exit_order, unsteady


def check_steady(program: Program, inputs: Tensor, outs: tuple[Tensor, ...], name: str) -> None:
    """Raises UserError where the same inputs get other answers, when asked again or in other company, or none."""
    if any(isinstance(out, Tensor) and not out.isfinite().all() for out in outs):
        raise UserError(f"{name} gives values that are not finite; its weights are damaged")
    if why := unsteady(program, inputs, outs, "an input"):
        raise UserError(f"{name} {why}; call model.eval() first: {EXPORT}")


def choose_answer(program: Program, outs: tuple[Tensor, ...], name: str) -> tuple[int, list[str]]:
    """The number of the output that holds the logits, the deepest one where several can, and in words what was left
    out. Raises UserError where none can."""
    fit = [number for number in exit_order(program) if _is_answer(outs[number])]
    shapes = ", ".join(str(("batch", *out.shape[1:])).replace("'", "") for out in outs)
    if not fit:
        raise UserError(
            f"{name} must give logits (batch, classes), but gives {shapes or 'no tensor'}; only classifiers can be cut "
            "into exits: export a module that returns the logits alone"
        )
    left = [f"of its outputs {shapes}, counted from 0, number {fit[-1]}, the deepest, is taken as logits"]
    return fit[-1], left if len(outs) > 1 else []


def _is_answer(out: Tensor) -> bool:
    return out.dim() >= 2 and out.shape[1] > 1 and out[0].numel() == out.shape[1] and out.dtype.is_floating_point


def answer_alone(program: Program, number: int, outs: tuple[Tensor, ...]) -> fx.GraphModule:
    """The graph of one tensor (batch, ...) that gives the logits (batch, classes)."""
    graph = only_outputs(program.graph, [number])
    entries = [node for node in graph.graph.nodes if node.op == "placeholder"]
    others = (*program.others[: program.place], None, *program.others[program.place :])
    for place, (entry, value) in enumerate(zip(entries, others, strict=True)):
        if place != program.place:
            put_value(entry, value)
            graph.graph.erase_node(entry)
    output = next(node for node in graph.graph.nodes if node.op == "output")
    (logits,) = output.all_input_nodes
    if outs[number].dim() > 2:
        with graph.graph.inserting_before(output):
            logits = graph.graph.call_function(torch.ops.aten.flatten.using_ints, (logits, 1))
    output.args = (logits,)
    graph.recompile()
    return graph


def without_softmax(network: fx.GraphModule) -> list[str]:
    """Leave out, in place, what makes probabilities of the logits at the end; in words what was left out."""
    output = next(node for node in network.graph.nodes if node.op == "output")
    (last,) = output.all_input_nodes
    kind = name_of(last)
    if kind not in ("softmax", "sigmoid"):
        return []
    output.args = (last.args[0],)
    network.graph.eliminate_dead_code()
    network.recompile()
    return [f"it ends in a {kind}; what that is made from are taken as logits"]
