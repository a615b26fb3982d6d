"""A network written as JSON and numbers is the same network when it is read."""

import json

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from erde_nas.errors import UserError
from erde_nas.networks.own.network import own_network
from erde_nas.networks.own.written import rebuilt, written
from tests.networks import foreign
from tests.networks.foreign import NETWORKS, exported, samples, trained


def copied(network):
    """Through JSON and safetensors, as texts and bytes."""
    values, numbers = written(network)
    return rebuilt(json.loads(json.dumps(values, allow_nan=False)), load(save(numbers)))


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_bit_for_bit_as_before(name, decomposed):
    network = own_network(foreign.pair(name, decomposed)[1], name).network
    again, inputs = copied(network), samples(name, 5)
    assert torch.equal(again(inputs), network(inputs))
    assert list(again.state_dict()) == list(network.state_dict()) or set(again.state_dict()) == set(
        network.state_dict()
    )
    names = {key for key, parameter in again.named_parameters() if parameter.requires_grad}
    assert names == {key for key, _ in network.named_parameters()}


def test_shared_weights_are_written_once_and_stay_shared():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(9, 6), nn.Linear(6, 9)
            self.head.weight = self.words.weight

        def forward(self, ids):
            return self.head(self.words(ids).mean(1))

    network = own_network(exported(trained(Tied()), torch.randint(0, 9, (3, 4))), "tied").network
    assert sum(number.numel() for number in written(network)[1].values()) == 9 * 6 + 9
    held = [layer.weight for layer in copied(network).modules() if isinstance(layer, nn.Embedding | nn.Linear)]
    assert len(held) == 2
    assert held[0] is held[1]


@pytest.mark.parametrize(
    ("op", "target"),
    [
        ("call_function", "aten.from_file.default"),
        ("call_function", "aten.relu_.default"),
        ("call_function", "os.system"),
        ("call_function", "torch.load"),
        ("call_function", "prims.sin.default"),
        ("call_method", "__reduce__"),
    ],
)
def test_nothing_else_can_be_named(op, target):
    values, numbers = written(own_network(foreign.pair("audio")[1], "audio").network)
    values["nodes"][-2] |= {"op": op, "target": target, "args": [], "kwargs": {}}
    with pytest.raises(UserError, match=f"{op} {target}"):
        rebuilt(values, numbers)
    values["modules"] = {"layers.0": ["Module", {}]}
    with pytest.raises(UserError, match="'Module'"):
        rebuilt(values, numbers)
