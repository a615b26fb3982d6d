"""How features of one network enter another: FCFD's bridges and the passes over mixed paths."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def bridge(source: Tensor, target: Tensor) -> nn.Sequential:
    """A small trainable map from features shaped like `source` to features shaped like `target` (batch, c, h, w).

    A 3×3 convolution, which halves where needed, or a 4×4 transposed one, which doubles; other sizes are averaged or
    repeated first. Then a batch norm, and a leaky ReLU where the target's features come out of a ReLU.
    """
    inputs, outputs, have, want = source.shape[1], target.shape[1], source.shape[-1], target.shape[-1]
    layers: list[nn.Module] = []
    if want == 2 * have:
        layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))
    else:
        halves = have > want == (have + 1) // 2
        if have != want and not halves:
            layers.append(nn.AdaptiveAvgPool2d(want) if have > want else nn.Upsample(size=(want, want)))
        conv = nn.Conv2d(inputs, outputs, 3, stride=2 if halves else 1, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        layers.append(conv)
    layers.append(nn.BatchNorm2d(outputs))
    if bool((target >= 0).all()):
        layers.append(nn.LeakyReLU(0.1))
    return nn.Sequential(*layers)


@contextmanager
def untracked(network: nn.Module) -> Iterator[None]:
    """Meanwhile, passes in training mode leave the running statistics of the network's batch norms as they are."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
