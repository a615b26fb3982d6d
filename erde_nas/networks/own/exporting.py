"""A module of PyTorch -> its program, as a user would have exported it."""

import copy
import warnings

import torch
from torch import Tensor, nn

from erde_nas.errors import UserError
from erde_nas.networks.own.inputs import COUNT
from erde_nas.networks.own.network import OwnNetwork, own_network
from erde_nas.networks.programs.program import line_of


def own_of_module(module: nn.Module, example: Tensor) -> OwnNetwork:
    """A module for inputs like `example` (n, ...), as it is in evaluation mode; itself it is left alone.

    Raises UserError where it cannot be exported, or the program not be used.
    """
    name = type(module).__name__
    inputs = example.repeat(-(-COUNT // max(1, len(example))), *[1] * (example.dim() - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own
        copied = copy.deepcopy(module).cpu().eval()
        try:
            program = torch.export.export(copied, (inputs,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        except Exception:  # what was written for a number of inputs may still answer for any
            program = _exported(copied, inputs, name)
        return own_network(program, name, inputs)


def _exported(module: nn.Module, inputs: Tensor, name: str) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(module, (inputs,))
    except Exception as error:  # torch.export raises many kinds
        raise UserError(f"{name} cannot be exported by torch.export: {line_of(error)}") from error
