"""`erde_nas.own`: a trained network of the user's own -> modules with its weights, and where it can be cut."""

from os import PathLike
from typing import TYPE_CHECKING, Any

from erde_nas.api.inputs import folder_of
from erde_nas.errors import UserError

if TYPE_CHECKING:
    from erde_nas.networks.own.network import OwnNetwork


def own(model: Any, example: Any = None) -> "OwnNetwork":
    """Take a trained classifier apart: modules with its weights, and every place where an exit could end.

    Args:
        model: the path of a program that `torch.export.save` wrote (.pt2), or a module of PyTorch.
        example: inputs (n, ...) as the model takes them, to try it on. A module needs them, and a program that leaves
            the size of its inputs open; otherwise noise is made.

    Returns:
        The network, which prints as a drawing and a table of its cuts. `network` is a module that answers as the
        model does, `cuts` are the places in their order, and `pieces([3, 7])` are the modules between them.

    Raises:
        UserError: where it decides by its inputs' values what it runs, takes several inputs, gives no logits, cannot
            be cut, or answers an input differently in other company.
    """
    import torch

    from erde_nas.networks.own.exporting import own_of_module
    from erde_nas.networks.own.network import load_own

    inputs = None if example is None else torch.as_tensor(example)
    if isinstance(model, str | PathLike):
        return load_own(folder_of(model), inputs)
    if not isinstance(model, torch.nn.Module):
        raise UserError(f"a model must be the path of a .pt2 file or a torch.nn.Module, but got {type(model).__name__}")
    if inputs is None or inputs.dim() < 2 or not len(inputs):
        raise UserError("a module needs an example: a tensor of at least one input (n, ...) as it takes them")
    return own_of_module(model, inputs)
