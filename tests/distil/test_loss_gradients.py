"""The gradients behind Taylor importance, against autograd on the same images at once."""

import torch
from torch.nn import functional

from erde_nas.compression.gradients import loss_gradients_
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.train import Training
from erde_nas.recipe.optimizer import OptimizerSection


def test_gradients_are_those_of_the_loss_summed_over_the_batches(make_network, make_views):
    network, views = make_network().train(), make_views(crop_padding=1)
    options = OptimizerSection(epochs=1, batch_size=16, learning_rate=0.05)
    job = Training(network, views, cross_entropy_objective(2), options, None, 0, Compute("fp32", 1, 0.001))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loss_gradients_(network, job, batches=3)
    found = [parameter.grad.clone() for parameter in network.parameters()]
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())

    network.zero_grad(set_to_none=True)
    chosen = views.order(0)[:48]
    exits = network.eval()(views.view(0)[chosen])
    loss = 3 * sum(functional.cross_entropy(out, views.labels[chosen]) for out in exits) / 2
    for ours, expected in zip(found, torch.autograd.grad(loss, list(network.parameters())), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
