"""First weights from a seed, and nobody else's draws changed."""

import torch
from torch import nn

from erde_nas.networks.seeded import seeded


def weights(seed: int) -> torch.Tensor:
    with seeded(seed):
        return nn.Linear(3, 3).weight.detach()


def test_a_seed_says_which_weights_and_the_generator_goes_on_as_before() -> None:
    torch.manual_seed(5)
    expected = [torch.rand(3), torch.rand(3)]
    torch.manual_seed(5)
    first = torch.rand(3)
    one, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(first, expected[0])
    assert torch.equal(torch.rand(3), expected[1])
    with seeded(1):
        same = nn.Linear(3, 3).weight
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(3, 3).weight, same), "the same that torch itself draws from this seed"
