"""An architecture, as pareto.json holds it -> a line of words, and what a drawing of it needs.

A file of another version may say less: what is not there is not said.
"""

from itertools import groupby
from typing import Any

Arch = dict[str, Any]


def shape_text(arch: Arch | None) -> str:
    """The family, the stem, the widths of the blocks and the exits: "resnet, stem 8, blocks 8 16×2 32, exits 1 (erde),
    3 (gap)". Empty where the architecture is not known."""
    if not arch:
        return ""
    widths = [str(block.get("width", "?")) for block in arch.get("blocks", ())]
    runs = [(width, len(list(run))) for width, run in groupby(widths)]
    blocks = " ".join(width if count == 1 else f"{width}×{count}" for width, count in runs)
    exits = ", ".join(f"{exit_['block']} ({exit_.get('head', '?')})" for exit_ in arch.get("exits", ()))
    parts = [arch.get("family", ""), f"stem {arch['stem']}" if "stem" in arch else ""]
    return ", ".join(str(part) for part in (*parts, f"blocks {blocks}", f"exits {exits}") if part)


def drawing(arch: Arch) -> dict[str, Any]:
    """What the page draws: the width and the stride of each block, and the exits' blocks and heads."""
    return {
        "family": str(arch.get("family", "")),
        "stem": arch.get("stem"),
        "size": arch.get("image_size"),
        "stemStride": arch.get("stem_stride", 1),
        "blocks": [
            {"width": block.get("width"), "stride": block.get("stride", 1), "text": block_text(block)}
            for block in arch.get("blocks", ())
        ],
        "exits": [{"block": exit_["block"], "head": str(exit_.get("head", ""))} for exit_ in arch.get("exits", ())],
    }


def block_text(block: dict[str, Any]) -> str:
    """Everything an architecture says of a block: "width 16, stride 2"."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in block.items())
