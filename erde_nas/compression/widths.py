"""How many channels each group of layers keeps when a share of all goes.

A group is what loses channels together. Widths fall with the share, and none below one multiple.
"""

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor


def kept_channels(
    scores: Mapping[str, Tensor], whole: Mapping[str, int], ratio: float, scopes: Mapping[str, Hashable], multiple: int
) -> dict[str, int]:
    """The channels that each group keeps of those that `scores` (channels,) rank: rounded down to whole multiples.

    Of the groups of one scope together, `ratio` of the channels that they have in the `whole` network are to go, those
    of least score first.
    """
    kept: dict[str, int] = {}
    for scope in dict.fromkeys(scopes.values()):
        names = [name for name in scores if scopes[name] == scope]
        order = torch.argsort(torch.cat([scores[name] for name in names]), stable=True)
        left = int(sum(whole[name] for name in names) * (1 - ratio) + 1e-6)  # 40 · (1 - 0.8) is below 8
        goes = torch.zeros(len(order), dtype=torch.bool)
        goes[order[: max(0, len(order) - left)]] = True
        for name, part in zip(names, goes.split([len(scores[name]) for name in names]), strict=True):
            kept[name] = rounded(len(part), len(part) - int(part.sum()), multiple)
    return kept


def rounded(channels: int, kept: int, multiple: int) -> int:
    """`kept` of `channels`, rounded down to whole multiples, but to one at least where there is one; all stay all."""
    return channels if kept >= channels else min(channels, max(multiple, kept - kept % multiple))
