"""A network, or a cascade of two, on disk: `arch.json` beside `weights.safetensors`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, nn

from erde_nas.errors import UserError
from erde_nas.files import read_json, write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.networks.attached import AttachedNetwork
from erde_nas.networks.cascade import Cascade
from erde_nas.networks.network import EarlyExitNetwork, blank
from erde_nas.networks.segmented import SegmentedNetwork
from erde_nas.registry import UnknownName

N = TypeVar("N", bound=nn.Module)


def save_network(network: SegmentedNetwork | Cascade, folder: Path) -> None:
    """Write both files, the weights last: where they are, the architecture is. Of a cascade whose second network is of
    others' making, all that is known is its first one; of a network of the user's own, its exits."""
    write_json(folder / "arch.json", network.to_dict())
    save_weights(network, folder / "weights.safetensors")


def save_weights(network: SegmentedNetwork | Cascade, path: Path) -> None:
    """Write the weights alone, in fp32 and contiguous."""
    try:
        write_atomic(path, lambda temporary: save_file(_tensors(network), temporary))
    except SafetensorError as error:
        raise UserError(f"{path} cannot be written ({error}); free space or choose another folder") from error


def load_network(weights: Path) -> EarlyExitNetwork:
    """The network whose weights are in the file `weights`; `arch.json` lies beside it.

    Raises UserError where a file is missing, damaged, or the two do not belong together.
    """
    return _loaded(weights, lambda values: blank(Arch.from_dict(values)))


def load_deployed(weights: Path) -> EarlyExitNetwork | Cascade:
    """As `load_network`, where it may be a cascade of two networks."""
    return _loaded(weights, lambda v: Cascade.from_dict(v) if "cascade" in v else blank(Arch.from_dict(v)))


def _loaded(weights: Path, made: Callable[[dict[str, Any]], N]) -> N:
    description = weights.parent / "arch.json"
    for path in (weights, description):
        if not path.is_file():
            raise UserError(f"{path} does not exist; a network is a .safetensors file with arch.json beside it")
    try:
        network = made(read_json(description))
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
    network = blank(arch)
    network.load_state_dict(load(weights))
    return network


def save_packed(arch: Arch, weights: bytes, folder: Path) -> None:
    """Write what `pack` gave as `save_network` would have."""
    write_json(folder / "arch.json", arch.to_dict())
    write_atomic(folder / "weights.safetensors", lambda temporary: temporary.write_bytes(weights))


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    tensors = {name: x.detach().cpu().contiguous() for name, x in network.state_dict().items()}
    if isinstance(network, Cascade) and not isinstance(network.second, EarlyExitNetwork):
        return {name: x for name, x in tensors.items() if name.startswith("first.")}
    if isinstance(network, AttachedNetwork):  # the rest is in the user's file
        return {name: x for name, x in tensors.items() if ".head." in name or name.startswith("segments.0.body.0.")}
    return tensors
