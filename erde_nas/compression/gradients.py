"""The gradients of the run's distillation loss at a trained network, for Taylor importance."""

import torch

from erde_nas.distil.step import Step
from erde_nas.distil.training.forward import features_of, forward
from erde_nas.distil.training.train import Training
from erde_nas.networks.network import EarlyExitNetwork


def loss_gradients_(network: EarlyExitNetwork, training: Training, batches: int) -> None:
    """Leave in `network` the gradients of the loss of `training`, summed over `batches` batches of its first view.

    The network stays on its device and in eval mode: what is asked is how the loss of the trained network would change.
    """
    device = next(network.parameters()).device
    objective, views, options = training.objective.to(device), training.views, training.options
    network.eval().zero_grad(set_to_none=True)
    chosen_batches = views.batches(0, views.order(0)[: batches * options.batch_size], options.batch_size)
    with torch.enable_grad():
        for chosen, images in chosen_batches:
            logits, hints = forward(network, images.to(device))
            teacher = None if training.targets is None else training.targets.batch(0, chosen).to(device)
            compared = training.targets.network if training.targets is not None and objective.needs_features else None
            features = [feature.to(device) for feature in features_of(compared, images)]
            step = Step(logits, views.labels[chosen].to(device), teacher, 1.0, hints, features)
            objective(step).backward()
