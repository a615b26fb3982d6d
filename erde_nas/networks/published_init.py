"""First weights of the literature's networks, as the public code bases of CRD and mdistiller set them.

Every convolution is drawn from a normal distribution of variance 2 / (k² · outputs), Kaiming's by what leaves it (He et
al., ICCV 2015), except in ShuffleNetV2, which starts as torch's layers do. VGG and MobileNetV2 draw their classifier
with a deviation of 0.01. Wide ResNets, VGG and MobileNetV2 set its bias to 0.
"""

from torch import nn

from erde_nas.networks.families import family_of


def start_as_published_(network: nn.Module, family: str) -> None:
    """Draw the weights of a network of `family` again, from torch's generator."""
    how = family_of(family)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and how.kaiming:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            if how.small_classifier:
                nn.init.normal_(module.weight, std=0.01)
            if how.no_bias:
                nn.init.zeros_(module.bias)
