"""The network of the user's own that students are made of: its weights, where exits may sit, which channels and blocks
can go. A run keeps it as JSON and tensors in its folder `own`; a process knows each by its digest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, fx

from erde_nas.errors import UserError
from erde_nas.files import read_json, write_atomic, write_json
from erde_nas.networks.attached import Place
from erde_nas.networks.digest import digest_of
from erde_nas.networks.own.costs import macs_by_node
from erde_nas.networks.own.groups import find_groups, probe_name
from erde_nas.networks.own.narrow import Group, Member
from erde_nas.networks.own.network import OwnNetwork
from erde_nas.networks.own.skips import Skip, find_skips
from erde_nas.networks.own.written import dump_network, load_network
from erde_nas.networks.placement import choose_places

FOLDER, NETWORK, WEIGHTS = "own", "network.json", "weights.safetensors"  # in a run
PLACES = 5  # at which a student may have early exits
_KNOWN: dict[str, "OwnBase"] = {}


@dataclass(frozen=True, eq=False)
class OwnBase:
    """`graph` takes images (batch, *shape), pixels 0..255 times `scale` plus `shift`, both (channels, 1, 1); `order`
    says which of its logits is which class. `nodes` are those whose tensors are alive at `places`."""

    name: str  # of its file
    shape: tuple[int, int, int]
    classes: int
    graph: fx.GraphModule
    scale: Tensor
    shift: Tensor
    order: Tensor | None
    places: tuple[Place, ...]
    nodes: tuple[str, ...]
    groups: tuple[Group, ...]
    skips: tuple[Skip, ...]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that depend on everything."""
        values, tensors = self.dump()
        text = json.dumps(values, sort_keys=True) + digest_of(tensors)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def macs(self) -> dict[str, int]:
        """Of every node of the graph, for one image."""
        found = macs_by_node(self.graph, torch.zeros(1, *self.shape))
        return {node.name: count for node, count in found.items()}

    def probe(self, place: int) -> str:
        """The layer that stands for an exit at a place in the groups."""
        return probe_name(self.places[place].number)

    def __reduce__(self) -> tuple[Any, ...]:
        """As data, which the other process remembers: it would trace the graph anew."""
        values, tensors = self.dump()
        return _remembered, (values, save(tensors))

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """JSON-ready values, and tensors by name. Raises ValueError for what cannot be written."""
        network, numbers = dump_network(self.graph)
        tensors = {f"network.{name}": tensor for name, tensor in numbers.items()}
        tensors |= {"scale": self.scale, "shift": self.shift}
        if self.order is not None:
            tensors["order"] = self.order
        for number, group in enumerate(self.groups):
            tensors[f"group.{number}"] = group.order
            for at, member in enumerate(group.members):
                tensors[f"group.{number}.{at}"] = torch.stack([member.channels, member.roots])
        values = {
            "name": self.name,
            "shape": list(self.shape),
            "classes": self.classes,
            "network": network,
            "places": [asdict(place) for place in self.places],
            "nodes": list(self.nodes),
            "groups": [
                {"stage": group.stage, "members": [[member.layer, member.side] for member in group.members]}
                for group in self.groups
            ],
            "skips": [asdict(skip) for skip in self.skips],
        }
        return json.loads(json.dumps(values)), {name: tensor.contiguous() for name, tensor in tensors.items()}

    @staticmethod
    def load(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "OwnBase":
        """The inverse of `dump`. Raises what `written.load_network` does for anything else."""
        groups = []
        for number, group in enumerate(values["groups"]):
            sides = enumerate(group["members"])
            members = [Member(*side, *tensors[f"group.{number}.{at}"].unbind(0)) for at, side in sides]
            groups.append(Group(group["stage"], tensors[f"group.{number}"], tuple(members)))
        numbers = {name.removeprefix("network."): x for name, x in tensors.items() if name.startswith("network.")}
        channels, height, width = values["shape"]
        return OwnBase(
            values["name"],
            (channels, height, width),
            values["classes"],
            load_network(values["network"], numbers),
            tensors["scale"],
            tensors["shift"],
            tensors.get("order"),
            tuple(Place(**{**place, "shape": tuple(place["shape"])}) for place in values["places"]),
            tuple(values["nodes"]),
            tuple(groups),
            tuple(Skip(**skip) for skip in values["skips"]),
        )


def _remembered(values: Mapping[str, Any], tensors: bytes) -> OwnBase:
    return remember(OwnBase.load(values, load(tensors)))


def make_base(
    own: OwnNetwork, name: str, shape: tuple[int, int, int], scale: Tensor, shift: Tensor, order: Tensor | None
) -> OwnBase:
    """What students can be made of an imported network. Raises UserError where it has no place for an exit, or cannot
    be written down."""
    places = choose_places(own.cuts, PLACES)
    if not places:
        raise UserError(f"{name} has no place for an exit: where it can be cut, nearly all or nothing is done")
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, *own.shape, generator=generator)
    numbers = [place.number for place in places]
    base = OwnBase(
        name,
        shape,
        own.classes if order is None else len(order),
        own.network,
        scale.detach().cpu().flatten(),
        shift.detach().cpu().flatten(),
        None if order is None else order.cpu(),
        tuple(places),
        tuple(own.cuts[number].name for number in numbers),
        tuple(find_groups(own.network, own.cuts, numbers, inputs)),
        tuple(find_skips(own.network, own.cuts)),
    )
    try:
        base.dump()
    except ValueError as error:
        raise UserError(f"{name} cannot be searched: {error}; `erde-nas exits` gives it exits as it is") from error
    return base


def remember(base: OwnBase) -> OwnBase:
    """Let this process know it by its digest; the one that is known then."""
    return _KNOWN.setdefault(base.digest, base)


def base_of(digest: str) -> OwnBase:
    """The network with that digest. Raises UserError where this process does not know it."""
    if digest not in _KNOWN:
        raise UserError(
            f"the network of your own {digest}, of which the student is made, is not known here: it lies in the folder "
            f"'{FOLDER}' of its run; keep students there"
        )
    return _KNOWN[digest]


def save_base(base: OwnBase, run: Path) -> None:
    """Write it into the folder of a run, unless it is there."""
    folder = run / FOLDER
    if (folder / NETWORK).is_file():
        return
    values, tensors = base.dump()
    write_atomic(folder / WEIGHTS, lambda temporary: save_file(tensors, temporary))
    write_json(folder / NETWORK, {**values, "digest": base.digest})


def saved_base(run: Path) -> OwnBase | None:
    """That of a run, remembered; None where the run is of no network of a user's own. Raises UserError where it is
    damaged."""
    folder = run / FOLDER
    if not (folder / NETWORK).is_file():
        return None
    values = read_json(folder / NETWORK)
    known = values.pop("digest", "")
    if known in _KNOWN:
        return _KNOWN[known]
    try:
        base = OwnBase.load(values, load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{folder} does not hold a network ({error!r:.200}); restore it") from error
    if base.digest != known:
        raise UserError(f"{folder} is damaged (its network is not the one that was written); restore it")
    return remember(base)
