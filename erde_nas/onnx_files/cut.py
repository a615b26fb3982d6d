"""Segments of a network -> those of the same network with fewer exits, without exporting anything again."""

from collections.abc import Mapping, Sequence

from onnx import ModelProto, ValueInfoProto, helper
from onnx.utils import Extractor

from erde_nas.onnx_files.names import input_name, output_names


def cut_segments(segments: Sequence[ModelProto], kept: Sequence[int]) -> list[ModelProto]:
    """The segments of the network that has the exits `kept` (numbers, rising) alone: what lies between two of them is
    one segment, the heads of the others go, and so does everything behind the last.

    Floating or quantized. They answer as `networks.network.keep_exits` does.
    """
    firsts = [0, *(number + 1 for number in kept[:-1])]
    return [
        _joined(segments, range(first, last + 1), output_names(number, len(kept)), input_name(number))
        for number, (first, last) in enumerate(zip(firsts, kept, strict=True))
    ]


def _joined(segments: Sequence[ModelProto], numbers: range, outputs: list[str], entry: str) -> ModelProto:
    """The segments `numbers` in a row, as one with an input `entry` and the `outputs`, the last one's logits first."""
    last, parts = numbers[-1], [segments[number] for number in numbers]
    names = {f"features{number}": f"inner/features{number}" for number in numbers}
    names |= {f"logits{number}": f"inner/logits{number}" for number in numbers}
    names |= {input_name(numbers[0]): entry} | dict(zip((f"logits{last}", f"features{last}"), outputs, strict=False))
    nodes, initializers = [], []
    for part in parts:
        for node in part.graph.node:
            renamed = type(node)()
            renamed.CopyFrom(node)
            renamed.input[:] = [names.get(name, name) for name in node.input]
            renamed.output[:] = [names.get(name, name) for name in node.output]
            nodes.append(renamed)
        initializers += part.graph.initializer
    known = {value.name: value for value in parts[-1].graph.output}
    given = [known[name] for name in (f"logits{last}", f"features{last}")[: len(outputs)]]
    graph = helper.make_graph(
        nodes,
        f"segment of {entry}",
        [_renamed(parts[0].graph.input[0], names)],
        [_renamed(value, names) for value in given],
        initializers,
    )
    opsets = {opset.domain: opset.version for part in parts for opset in part.opset_import}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=max(part.ir_version for part in parts),
    )
    return Extractor(model).extract_model([entry], outputs)  # without the heads that nobody reads


def _renamed(value: ValueInfoProto, names: Mapping[str, str]) -> ValueInfoProto:
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = names[value.name]
    return copy
