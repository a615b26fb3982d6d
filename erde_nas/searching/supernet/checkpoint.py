"""The shared weights of one family on disk: one file, so that weights, momenta and epoch always belong together."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erde_nas.errors import UserError
from erde_nas.files import write_atomic
from erde_nas.networks.digest import digest_of
from erde_nas.networks.weights import DIGEST
from erde_nas.searching.supernet.weights import Weights

FOLDER = "supernet"  # in the run folder
MOMENTUM = "momentum."


@dataclass(frozen=True)
class Checkpoint:
    """The weights after `epochs` of all epochs; `momenta` by the same names, none once the training is done."""

    weights: Weights
    momenta: Weights
    epochs: int


def weights_file(run_folder: Path, family: str) -> Path:
    """Where the shared weights of a family are kept."""
    return run_folder / FOLDER / f"{family}.safetensors"


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write it, replacing an earlier one in one step. Raises UserError where there is no room."""
    named = {**checkpoint.weights, **_named(checkpoint.momenta)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    try:
        about = {"epochs": str(checkpoint.epochs), DIGEST: digest_of(tensors)}
        write_atomic(path, lambda temporary: save_file(tensors, temporary, about))
    except SafetensorError as error:
        raise UserError(f"{path} cannot be written ({error}); free space and run again") from error


def load(path: Path) -> Checkpoint | None:
    """What is there, on the CPU; None where nothing is. Raises UserError where it is damaged."""
    if not path.is_file():
        return None
    weights: Weights = {}
    momenta: Weights = {}
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            epochs = int(about["epochs"])
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                tensor: Tensor = file.get_tensor(key)
                (momenta if key.startswith(MOMENTUM) else weights)[key.removeprefix(MOMENTUM)] = tensor
        if DIGEST in about and about[DIGEST] != digest_of({**weights, **_named(momenta)}):
            raise ValueError("its weights are not those that were written")
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to train the supernet again") from error
    return Checkpoint(weights, momenta, epochs)


def _named(momenta: Weights) -> Weights:
    return {MOMENTUM + name: tensor for name, tensor in momenta.items()}
