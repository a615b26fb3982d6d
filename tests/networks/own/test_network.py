"""Imported networks answer as the programs they are made from, hold their weights, and can be trained and pruned."""

import warnings

import pytest
import torch
import torch_pruning
from torch import nn

from erde_nas.networks.own.network import load_own, own_network
from tests.networks import foreign
from tests.networks.foreign import NETWORKS, Inverted, Residual, Words, exported, images, samples, trained

CONVOLUTIONAL = ("residual", "inverted", "dense")


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def pair(name):
    network, program = foreign.pair(name)
    return network, own_network(program, name)


def test_answers_are_equal_bit_for_bit_whatever_the_batch(name, pair):
    network, own = pair
    assert own.exact
    for count in (1, 2, 7):
        inputs = samples(name, count, seed=count)
        assert torch.equal(own.network(inputs), network(inputs))


def test_every_parameter_is_the_networks_own_and_learns(name, pair):
    network, own = pair
    state = network.state_dict()
    assert {key: tuple(value.shape) for key, value in own.network.state_dict().items()} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    assert all(torch.equal(value, state[key]) for key, value in own.network.state_dict().items())
    own.network.train()
    inputs = samples(name, 8)
    nn.functional.cross_entropy(own.network(inputs), torch.arange(8) % own.classes).backward()
    assert [key for key, value in own.network.named_parameters() if value.grad is None] == []


def test_it_is_in_evaluation_mode_and_can_be_trained(pair):
    _, own = pair
    assert not any(module.training for module in own.network.modules())
    norms = [module for module in own.network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [norm.running_mean.clone() for norm in norms]
    own.network.train()(torch.rand(4, *own.shape) if own.dtype.is_floating_point else samples("words", 4))
    assert all(not torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True))


@pytest.mark.parametrize("any_batch", [True, False], ids=["any batch", "a batch of three"])
def test_after_decompositions_it_answers_as_the_program(name, any_batch):
    network, program = foreign.pair(name, True, any_batch)
    own = own_network(program, name)
    inputs = samples(name, 5, seed=3)
    assert own.exact  # as the decomposed program does, which adds in another order than the network in some places
    torch.testing.assert_close(own.network(inputs), network(inputs), rtol=0, atol=1e-5)
    assert set(own.network.state_dict()) == set(network.state_dict())
    kinds = (nn.Linear, nn.LayerNorm, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Embedding)
    layers = {key for key, module in network.named_modules() if isinstance(module, kinds)}
    found = {key for key, module in own.network.named_modules() if isinstance(module, kinds)}
    assert {key for key in layers - found if not key.endswith("attention.out")} == set()  # which became a plain product


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("decomposed", [False, True])
def test_torch_pruning_halves_its_channels(kind, decomposed):
    own = own_network(foreign.pair(kind, decomposed)[1], kind)
    inputs, before = images(2), own.parameters
    last = [module for module in own.network.modules() if isinstance(module, nn.Linear)][-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.MagnitudePruner(
            own.network, inputs, torch_pruning.importance.GroupMagnitudeImportance(), pruning_ratio=0.5, round_to=8,
            ignored_layers=[last],
        )  # fmt: skip
        pruner.step()
    assert own.network(inputs).shape == (2, own.classes)
    assert own.parameters < 0.75 * before
    widths = [module.out_channels for module in own.network.modules() if isinstance(module, nn.Conv2d)]
    assert all(width % 8 == 0 for width in widths)


def test_a_file_is_read_and_what_is_shared_stays_shared(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(torch.relu(self.layer(torch.relu(self.layer(x)))))

    network, inputs = trained(Tied()), torch.randn(4, 6)
    torch.export.save(exported(network, inputs), tmp_path / "tied.pt2")
    own = load_own(tmp_path / "tied.pt2")
    assert torch.equal(own.network(inputs), network(inputs))
    assert own.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert (own.shape, own.classes, own.macs) == ((6,), 3, 36 + 36 + 18)
    assert own.cuts[0].place == "layer", "the file says where a tensor was made"


def test_half_precision_is_used_in_fp32_and_said():
    network = trained(Residual())
    own = own_network(exported(network.half(), images(3).half()), "half")
    assert own.dtype == torch.float32
    assert own.remarks == ("its float16 weights are used in float32",)
    inputs = images(4)
    torch.testing.assert_close(own.network(inputs), network.float()(inputs), rtol=0, atol=1e-6)


def test_a_softmax_at_the_end_is_left_out():
    network = trained(Residual())
    own = own_network(exported(nn.Sequential(network, nn.Softmax(1)).eval(), images(3)), "probabilities")
    assert torch.equal(own.network(images(4)), network(images(4)))
    assert own.remarks == ("it ends in a softmax; what that is made from are taken as logits",)


def test_of_several_outputs_the_deepest_is_taken():
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.early, self.late = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)
            self.more = nn.Linear(8, 8)

        def forward(self, x):
            x = torch.relu(self.body(x))
            return {"late": self.late(torch.relu(self.more(x))), "early": self.early(x), "features": x}

    network, inputs = trained(Auxiliary()), torch.randn(4, 6)
    own = own_network(exported(network, inputs), "auxiliary")
    assert torch.equal(own.network(inputs), network(inputs)["late"])
    assert "number 0, the deepest, is taken as logits" in own.remarks[0]


def test_ids_are_drawn_from_what_the_embedding_knows():
    own = own_network(exported(trained(Words(words=3)), torch.randint(0, 3, (3, 12))), "three words")
    assert own.dtype == torch.int64
    assert own.shape == (12,)


def test_an_input_of_any_size_needs_an_example():
    dims = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("h", min=8), 3: torch.export.Dim("w", min=8)},)
    network = trained(Inverted())
    program = exported(network, images(3, 32), dynamic_shapes=dims)
    own = own_network(program, "any size", example=images(2, 24))
    assert own.shape == (3, 24, 24)
    assert torch.equal(own.network(images(5, 24)), network(images(5, 24)))
