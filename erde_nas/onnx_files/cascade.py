"""The segments of two networks, in fp32 or int8, -> those of a cascade.

What a segment takes, its inputs say by their names: `image`, where the second network begins, and the last logits of
the first, where answers are averaged.
"""

from collections.abc import Sequence

from onnx import ModelProto, TensorProto, helper

from erde_nas.onnx_files.names import input_name, output_names
from erde_nas.onnx_files.segments import own_names, renamed_

SECOND = "second/"  # how all names in the second network's segments begin


def joined_segments(first: Sequence[ModelProto], second: Sequence[ModelProto], averaged: bool) -> list[ModelProto]:
    """The exits of `first`, then those of `second`, whose logits are the mean with the first's last if `averaged`."""
    count = len(first) + len(second)
    moved = []
    for number, model in enumerate(second):
        place = len(first) + number
        names = dict(zip(output_names(number, len(second)), output_names(place, count), strict=True))
        if number:
            names[input_name(number)] = input_name(place)
        copy = own_names(model, SECOND)
        renamed_(copy.graph, lambda name, names=names: names.get(name, name))  # type: ignore[misc]
        moved.append(_averaged(copy, place, len(first) - 1) if averaged else copy)
    return [*first, *moved]


def _averaged(segment: ModelProto, number: int, earlier: int) -> ModelProto:
    """The segment, changed in place, whose logits are the mean of its own and those of exit `earlier`."""
    logits, before = (output_names(n, n + 1)[0] for n in (number, earlier))
    own = f"{SECOND}own_{logits}"
    renamed_(segment.graph, lambda name: own if name == logits else name)
    output = segment.graph.output[0]
    output.name = logits
    segment.graph.node.append(helper.make_node("Mean", [before, own], [logits], name=f"{SECOND}mean_{logits}"))
    classes = output.type.tensor_type.shape.dim[1].dim_value
    segment.graph.input.append(helper.make_tensor_value_info(before, TensorProto.FLOAT, ["batch", classes]))
    return segment
