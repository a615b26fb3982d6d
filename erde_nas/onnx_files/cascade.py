"""The segments of two networks, in fp32 or int8, -> those of a cascade.

What a segment takes, its inputs say by their names: `image`, where the second network begins, and the last logits of
the first, where answers are averaged.
"""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from erde_nas.onnx_files.names import MEAN, SECOND, input_name, output_names
from erde_nas.onnx_files.segments import own_names, renamed_


def joined_segments(first: Sequence[ModelProto], second: Sequence[ModelProto], averaged: float) -> list[ModelProto]:
    """The exits of `first`, then those of `second`, in whose logits the first's last have the share `averaged`."""
    count = len(first) + len(second)
    moved = []
    for number, model in enumerate(second):
        place = len(first) + number
        names = dict(zip(output_names(number, len(second)), output_names(place, count), strict=True))
        if number:
            names[input_name(number)] = input_name(place)
        copy = own_names(model, SECOND)
        renamed_(copy.graph, lambda name, names=names: names.get(name, name))  # type: ignore[misc]
        moved.append(_averaged(copy, place, len(first) - 1, averaged) if averaged else copy)
    return [*first, *moved]


def _averaged(segment: ModelProto, number: int, earlier: int, share: float) -> ModelProto:
    """The segment, changed in place, whose logits are a mean of its own and those of exit `earlier`."""
    logits, before = (output_names(n, n + 1)[0] for n in (number, earlier))
    own = f"{SECOND}own_{logits}"
    renamed_(segment.graph, lambda name: own if name == logits else name)
    output = segment.graph.output[0]
    output.name = logits
    parts = []
    for place, (name, weight) in enumerate(((before, share), (own, 1 - share))):
        constant, part = (f"{SECOND}{logits}_{what}{place}" for what in ("share", "part"))
        segment.graph.initializer.append(numpy_helper.from_array(np.array(weight, np.float32), constant))
        segment.graph.node.append(helper.make_node("Mul", [name, constant], [part], name=part))
        parts.append(part)
    segment.graph.node.append(helper.make_node("Add", parts, [logits], name=f"{MEAN}{logits}"))
    classes = output.type.tensor_type.shape.dim[1].dim_value
    segment.graph.input.append(helper.make_tensor_value_info(before, TensorProto.FLOAT, ["batch", classes]))
    return segment
