"""A network, or a cascade of two, on disk: `arch.json` beside `weights.safetensors`.

The header of a file of weights holds a digest of them, which is checked whenever they are read. Files of earlier
versions have none.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor, nn

from erde_nas.errors import UserError
from erde_nas.files import read_json, write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.networks.attached import AttachedNetwork
from erde_nas.networks.cascade import Cascade
from erde_nas.networks.digest import digest_of
from erde_nas.networks.network import EarlyExitNetwork, blank
from erde_nas.networks.own.base import saved_base
from erde_nas.networks.segmented import SegmentedNetwork

HARMLESS = 200_000_000  # bytes of weights that are tried whatever the file holds
SLACK = 4  # weights in 8 bits are the smallest that could be stored
N = TypeVar("N", bound=nn.Module)
DIGEST = "sha256"  # in the header


def save_network(network: SegmentedNetwork | Cascade, folder: Path) -> None:
    """Write both files, the weights last: where they are, the architecture is. Of a cascade whose second network is of
    others' making, all that is known is its first one; of a network of the user's own, its exits."""
    write_json(folder / "arch.json", network.to_dict())
    save_weights(network, folder / "weights.safetensors")


def save_weights(network: SegmentedNetwork | Cascade, path: Path) -> None:
    """Write the weights alone, in fp32 and contiguous."""
    try:
        tensors = _tensors(network)
        write_atomic(path, lambda temporary: save_file(tensors, temporary, {DIGEST: digest_of(tensors)}))
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
        values = read_json(description)
        if "blocks" not in values or values.get("own"):
            saved_base(weights.parent.parent.parent)  # a student of the user's own network lies in a run
        if _at_most(values) > HARMLESS:
            with torch.device("meta"):  # whatever sizes it says, nothing is taken for them; it loads much of torch
                needed = sum(tensor.nbytes for tensor in made(values).state_dict().values())
            there = weights.stat().st_size
            if needed > max(HARMLESS, SLACK * there):
                raise ValueError(f"its weights would take {needed} bytes, but {weights.name} has {there}")
        network = made(values)
    except Exception as error:  # whatever layers raise of sizes that do not fit, and a file that holds something else
        raise UserError(f"{description} does not describe an erde-nas network: {error!r}") from error
    try:
        network.load_state_dict(read_weights(weights))
    except RuntimeError as error:
        raise UserError(f"{weights} does not fit {description}: {str(error).splitlines()[-1].strip()}") from error
    return network


def _at_most(values: Mapping[str, Any]) -> float:
    """A bound on the bytes of a network's weights, by the sizes in its description alone, as if each block were one
    dense convolution between all of its channels; infinite where they do not tell."""
    if "blocks" not in values:
        parts = [part for part in values.get("cascade", ()) if part]
        return sum(map(_at_most, parts)) if parts else math.inf
    if values.get("own"):
        return 0.0  # parts of what is loaded already
    before, total = values["stem"], values["in_channels"] * values["stem"] * 7**2
    for block in values["blocks"]:
        total += ((before + block["width"] + block["hidden"]) * block.get("kernel", 3)) ** 2
        before = max(before, block["width"])
    for width in values["head_widths"]:
        total += (9 * before + 16 * values["classes"]) * max(before, width)
    return 4.0 * total


def pack(network: EarlyExitNetwork) -> bytes:
    """The weights as `save_weights` writes them."""
    tensors = _tensors(network)
    return save(tensors, {DIGEST: digest_of(tensors)})


def unpack(arch: Arch, weights: bytes) -> EarlyExitNetwork:
    """The network of `arch` with the weights that `pack` gave."""
    network = blank(arch)
    network.load_state_dict(load(weights))
    return network


def save_packed(arch: Arch, weights: bytes, folder: Path) -> None:
    """Write what `pack` gave as `save_network` would have."""
    write_json(folder / "arch.json", arch.to_dict())
    write_atomic(folder / "weights.safetensors", lambda temporary: temporary.write_bytes(weights))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights. Raises UserError where it is damaged, or not what its header says."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            known = (file.metadata() or {}).get(DIGEST)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); restore it or train it again") from error
    if known is not None and known != digest_of(tensors):
        raise UserError(
            f"{path} is damaged (its weights are not those that were written); restore it or train it again"
        )
    return tensors


def recorded_digest(path: Path) -> str:
    """The digest in the header of a file of weights: empty where there is none, or no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get(DIGEST, ""))
    except (SafetensorError, OSError):
        return ""


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    tensors = {name: x.detach().cpu().contiguous() for name, x in network.state_dict().items()}
    if isinstance(network, Cascade) and not isinstance(network.second, EarlyExitNetwork):
        return {name: x for name, x in tensors.items() if name.startswith("first.")}
    if isinstance(network, AttachedNetwork):  # the rest is in the user's file
        return {name: x for name, x in tensors.items() if ".head." in name or name.startswith("segments.0.body.0.")}
    return tensors
