"""The gradients of the run's distillation loss at a trained network, for Taylor importance."""

import torch

from erde_nas.distil.step import Step
from erde_nas.distil.training.together import Job
from erde_nas.networks.network import EarlyExitNetwork


def loss_gradients_(network: EarlyExitNetwork, job: Job, batches: int) -> None:
    """Leave in `network` the gradients of the loss of `job`, summed over the first `batches` batches of its first view.

    The network stays on its device and in eval mode: what is asked is how the loss of the trained network would change.
    """
    device = next(network.parameters()).device
    objective, views, options = job.objective.to(device), job.views, job.options
    network.eval().zero_grad(set_to_none=True)
    chosen_batches = views.batches(0, views.order(0)[: batches * options.batch_size], options.batch_size)
    with torch.enable_grad():
        for chosen, images in chosen_batches:
            logits, hints = network.forward_all(images.to(device))
            teacher = None if job.targets is None else job.targets.batch(0, chosen).to(device)
            features = []
            if objective.needs_features and job.targets is not None and job.targets.network is not None:
                with torch.no_grad():
                    features = [f.to(device) for f in job.targets.network.forward_all(images)[1]]
            step = Step(torch.stack(logits).float(), views.labels[chosen].to(device), teacher, 1.0, hints, features)
            objective(step).backward()
