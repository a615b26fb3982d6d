"""A network on disk: `arch.json` beside `weights.safetensors`."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

from erde_nas.errors import UserError
from erde_nas.files import read_json, write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.registry import UnknownName


def save_network(network: EarlyExitNetwork, folder: Path) -> None:
    """Write both files, the weights last: where they are, the architecture is."""
    write_json(folder / "arch.json", network.arch.to_dict())
    save_weights(network, folder / "weights.safetensors")


def save_weights(network: EarlyExitNetwork, path: Path) -> None:
    """Write the weights alone, in fp32 and contiguous."""
    try:
        write_atomic(path, lambda temporary: save_file(_tensors(network), temporary))
    except SafetensorError as error:
        raise UserError(f"{path} cannot be written ({error}); free space or choose another folder") from error


def load_network(weights: Path) -> EarlyExitNetwork:
    """The network whose weights are in the file `weights`; `arch.json` lies beside it.

    Raises UserError where a file is missing, damaged, or the two do not belong together.
    """
    description = weights.parent / "arch.json"
    for path in (weights, description):
        if not path.is_file():
            raise UserError(f"{path} does not exist; a network is a .safetensors file with arch.json beside it")
    try:
        arch = Arch.from_dict(read_json(description))
        network = EarlyExitNetwork(arch, [0.0] * arch.in_channels, [1.0] * arch.in_channels)
    except (UnknownName, ValueError, KeyError, TypeError, ArithmeticError, RuntimeError, StopIteration) as error:
        raise UserError(f"{description} does not describe an erde-nas network: {error!r}") from error
    try:
        network.load_state_dict(load_file(weights))
    except SafetensorError as error:
        raise UserError(f"{weights} is damaged ({error}); restore it or train it again") from error
    except RuntimeError as error:
        raise UserError(f"{weights} does not fit {description}: {str(error).splitlines()[-1].strip()}") from error
    return network


def pack(network: EarlyExitNetwork) -> bytes:
    """The weights as `save_weights` writes them."""
    return save(_tensors(network))


def unpack(arch: Arch, weights: bytes) -> EarlyExitNetwork:
    """The network of `arch` with the weights that `pack` gave."""
    network = EarlyExitNetwork(arch, [0.0] * arch.in_channels, [1.0] * arch.in_channels)
    network.load_state_dict(load(weights))
    return network


def save_packed(arch: Arch, weights: bytes, folder: Path) -> None:
    """Write what `pack` gave as `save_network` would have."""
    write_json(folder / "arch.json", arch.to_dict())
    write_atomic(folder / "weights.safetensors", lambda temporary: temporary.write_bytes(weights))


def _tensors(network: EarlyExitNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
