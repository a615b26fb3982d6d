"""A network's cuts in words: a table by stage, and a drawing of where in the network's work they lie."""

from collections.abc import Sequence
from itertools import groupby

from tabulate import tabulate

from erde_nas.networks.own.cuts import Cut

WIDTH = 60  # characters that stand for all MACs
HEADERS = ("stage", "cut", "place", "shape", "M MACs", "MACs %", "parameters")


def table(cuts: Sequence[Cut], macs: int, parameters: int, classes: int) -> str:
    """One row a cut, in the order of the network, and the logits last: there the whole network has run."""
    rows: list[tuple[str, ...]] = []
    for stage, group in groupby(cuts, lambda cut: cut.stage):
        for first, cut in enumerate(group):
            shape = _shape(cut.shape) + (" tokens" if cut.kind == "tokens" else "")
            costs = _costs(cut.macs, cut.share, cut.parameters)
            rows.append((stage if not first else "", str(cut.number), place_of(cut), shape, *costs))
    rows.append(("the network", "", "logits", str(classes), *_costs(macs, 1.0, parameters)))
    right = ["right" if name in ("cut", "M MACs", "MACs %", "parameters") else "left" for name in HEADERS]
    return tabulate(rows, headers=HEADERS, disable_numparse=True, colalign=right)


def drawing(cuts: Sequence[Cut], input_shape: Sequence[int], classes: int) -> str:
    """One line a stage, from the input to the logits: what share of the MACs it has run, `█`, and what runs in it up to
    each of its cuts, `▌`."""
    named = [(stage, list(group)) for stage, group in groupby(cuts, lambda cut: cut.stage)]
    width = max([len(stage) for stage, _ in named] + [len(_shape(input_shape)) + 6])
    scale = "0 % of the MACs".ljust(WIDTH - 5) + "100 %"
    lines = [f"{f'input {_shape(input_shape)}':{width}}  {scale}  cuts"]
    done = 0.0
    for stage, group in named:
        numbers = f"{group[0].number}" + (f"–{group[-1].number}" if len(group) > 1 else "")
        lines.append(f"{stage:{width}}  {_bar(done, [cut.share for cut in group])}  {numbers}")
        done = group[-1].share
    lines.append(f"{f'{classes} logits':{width}}  {_bar(done, [1.0])}")
    return "\n".join(line.rstrip() for line in lines)


def _bar(start: float, shares: Sequence[float]) -> str:
    first, ends = round(start * WIDTH), {min(WIDTH - 1, round(share * WIDTH)) for share in shares}
    run = range(first, max(ends))
    return "".join("▌" if i in ends else "█" if i in run else "·" for i in range(WIDTH))


def place_of(cut: Cut) -> str:
    """The user's module and the operation in it, as far as the program names them."""
    return f"{cut.place} ({cut.name})" if cut.place else cut.name


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _costs(macs: int, share: float, parameters: int) -> tuple[str, str, str]:
    return f"{macs / 1e6:.3g}" if macs < 1e9 else f"{macs / 1e6:.0f}", f"{100 * share:.1f}", f"{parameters:,}"
