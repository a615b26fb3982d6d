"""Cuts, against what the graph says when one node after another is taken out, and against counts by hand."""

import pytest
import torch
from torch import nn

from erde_nas.networks.macs import count_macs
from erde_nas.networks.own.network import own_network
from tests.networks import foreign
from tests.networks.foreign import NETWORKS, exported, samples, trained


def on_every_path(network) -> list[str]:
    """The nodes without which the logits cannot be reached from the input, by taking out each of them in turn."""
    nodes = list(network.graph.nodes)
    entry = next(node for node in nodes if node.op == "placeholder")
    (logits,) = next(node for node in nodes if node.op == "output").all_input_nodes
    carries = {node for node in nodes if node.target != "size"}  # the number of inputs is no tensor

    def reached(without) -> bool:
        found, waiting = set(), [entry]
        while waiting:
            node = waiting.pop()
            if node is without or node in found or node not in carries:
                continue
            found.add(node)
            waiting += node.users
        return logits in found

    return [node.name for node in nodes if node not in (entry, logits) and node in carries and not reached(node)]


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["exported", "decomposed"])
def own(name, request):
    return own_network(foreign.pair(name, request.param)[1], name)


def test_they_are_all_the_places_that_every_path_goes_through(own):
    assert [cut.name for cut in own.cuts] == on_every_path(own.network)
    assert [cut.number for cut in own.cuts] == list(range(len(own.cuts)))


def test_pieces_run_one_after_another_are_the_network(name, own):
    inputs = samples(name, 6, seed=5)
    wanted = own.network(inputs)
    for numbers in ([], [0], [len(own.cuts) - 1], list(range(len(own.cuts)))):
        parts = own.pieces(numbers)
        x = inputs
        for part, number in zip(parts, [*numbers, None], strict=True):
            x = part(x)
            if number is not None:
                assert tuple(x.shape[1:]) == own.cuts[number].shape
        assert torch.equal(x, wanted)
        assert not any(module.training for part in parts for module in part.modules())
        assert sum(p.numel() for part in parts for p in part.parameters()) == own.parameters


def test_pieces_are_copies(own):
    first, _ = own.pieces([len(own.cuts) - 1])
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert all(bool(parameter.any()) for parameter in own.network.parameters())


@pytest.mark.parametrize("numbers", [[1, 0], [0, 0], [-1], [99]])
def test_other_numbers_are_an_error(numbers):
    own = own_network(foreign.pair("residual")[1], "residual")
    with pytest.raises(ValueError, match="rising numbers"):
        own.pieces(numbers)


def test_costs_up_to_a_cut_are_those_of_the_piece(name, own):
    one = samples(name, 1)
    for cut in own.cuts[:: max(1, len(own.cuts) // 4)]:
        first, _ = own.pieces([cut.number])
        assert cut.parameters == sum(parameter.numel() for parameter in first.parameters())
        if name not in ("transformer", "words"):  # whose attention ptflops does not count
            assert cut.macs == count_macs(first, one)
        assert cut.share == cut.macs / own.macs


def test_macs_of_a_transformer_by_hand():
    width, tokens, own = 24, 17, own_network(foreign.pair("transformer")[1], "transformer")
    attention = 4 * tokens * width**2 + 2 * tokens**2 * width  # q, k, v and out; q·k and p·v over all heads
    block = attention + 2 * tokens * width * 2 * width
    assert own.macs == 16 * 3 * 16 * width + 2 * block + width * 5


def test_a_residual_network_is_cut_between_its_blocks():
    own = own_network(foreign.pair("residual")[1], "residual")
    assert [cut.place for cut in own.cuts if cut.kind == "map"] == [
        "stem.0", "stem.1", "stem.2", "blocks.0", "blocks.0.act", "blocks.1", "blocks.1.act", "blocks.2",
        "blocks.2.act", "blocks.3", "blocks.3.act", "",
    ]  # fmt: skip
    stages = [cut.stage for cut in own.cuts]
    assert stages == ["16×16"] * 7 + ["8×8"] * 4 + ["1×1"] + ["vector"] * 2
    by_hand = 16 * 16 * 27 * 8 + 4 * 16 * 16 * 72 * 8
    assert own.cuts[6].macs == by_hand
    assert (own.cuts[6].channels, own.cuts[6].size) == (8, (16, 16))


def test_a_transformer_is_cut_into_its_blocks():
    own = own_network(foreign.pair("transformer")[1], "transformer")
    stages = [(cut.kind, cut.stage) for cut in own.cuts]
    blocks = [("tokens", f"17 tokens, blocks.{i}") for i in (0, 0, 1, 1)]
    start = [("map", "4×4"), ("map", "length 16"), ("tokens", "16 tokens"), *[("tokens", "17 tokens")] * 2]
    assert stages == [*start, *blocks, *[("tokens", "17 tokens")] * 2, ("vector", "vector")]
    assert (own.cuts[5].channels, own.cuts[5].size) == (24, (17,))


def test_axes_that_hold_several_inputs_are_no_cut():
    class Windows(nn.Module):
        """Two halves of every input as if they were two inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.before, self.within, self.head = nn.Linear(8, 8), nn.Linear(4, 4), nn.Linear(8, 3)

        def forward(self, x):
            x = torch.relu(self.before(x)).reshape(x.shape[0] * 2, 4)
            return self.head(self.within(x).reshape(-1, 8))

    own = own_network(exported(trained(Windows()), torch.randn(3, 8)), "windows")
    assert [cut.shape for cut in own.cuts] == [(8,), (8,), (8,)]
    x = inputs = torch.randn(5, 8)
    for part in own.pieces([1, 2]):
        x = part(x)
    assert torch.equal(x, own.network(inputs))
