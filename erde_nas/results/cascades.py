"""Finished networks and the brief timings of their files -> cascades of two: which pairs, their files, their points.

Nothing is trained. The segments of a cascade's file are those of its networks, in fp32 or int8, and so are its logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from erde_nas.compression.int8 import Quantized
from erde_nas.measurement.failures import LeftOut, leaving_out
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.cascade import Cascade, cascade_costs, cascade_logits
from erde_nas.networks.cascade_choice import Member, few, promising
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import operating_curve
from erde_nas.networks.weights import save_network
from erde_nas.onnx_files.file_kind import FP32, FileKind
from erde_nas.onnx_files.write import joined, write_file
from erde_nas.results.network_files import NetworkFile, TrainedNetwork, path_of
from erde_nas.run.context import RunContext

MOST = 3  # pairs that are made into files for the sake of latency; as many for that of MACs
POINTS = 3  # of each that are measured at most

Files = Mapping[str, NetworkFile]  # of one kind, by the network's name
Timings = Mapping[str, Timing]  # brief ones, by the file's key


def cascade_files(
    files: Sequence[NetworkFile], quick: Timings, run: RunContext, left_out: LeftOut
) -> list[NetworkFile]:
    """The files of the cascades that promise most, in every kind that both of their networks have.

    `files` are in every kind; their operating points are chosen later. A pair is chosen for what it adds to the front
    of all of them in accuracy on validation and latency, as `quick` says it, or MACs.
    """
    if not run.context.recipe.finish.cascades:
        return []
    by_kind: dict[FileKind, dict[str, NetworkFile]] = {}
    for file in files:
        if file.key in quick and file.trained.role in ("student", "teacher"):
            by_kind.setdefault(file.kind, {}).setdefault(file.trained.name, file)
    pairs: dict[tuple[str, str], float] = {}
    for kind, found in by_kind.items():
        for first, second, averaged in _chosen(kind, found, quick, run):
            pairs.setdefault((first, second), averaged)
    made, networks = [], {file.trained.name: file.trained for found in by_kind.values() for file in found.values()}
    for (first, second), averaged in pairs.items():
        trained = _trained(networks[first], networks[second], averaged, run)
        for kind, found in by_kind.items():
            if first in found and second in found:
                with leaving_out(left_out, f"{trained.name}/{path_of(trained, kind).name}"):
                    made.append(_file(trained, found[first], found[second], run))
    return made


def _chosen(kind: FileKind, files: Files, quick: Timings, run: RunContext) -> list[tuple[str, str, float]]:
    labels, rule = run.context.dataset.validation.labels, run.context.exit_rule
    by_latency = {name: quick[file.key].per_exit for name, file in files.items()}
    by_macs = {name: file.trained.macs_per_exit for name, file in files.items()}
    chosen = []
    for costs in (by_latency, *([by_macs] if kind == FP32 else [])):
        members = [Member(name, file.val_logits, costs[name]) for name, file in files.items()]
        known = [p for m in members for p in operating_curve(m.logits, labels, m.costs, rule)]
        chosen += [(p.first, p.second, p.averaged) for p in promising(members, known, labels, rule, MOST)]
    # A teacher of the user's own has no segments that something could follow.
    return [pair for pair in chosen if isinstance(files[pair[0]].trained.network, EarlyExitNetwork)]


def _trained(first: TrainedNetwork, second: TrainedNetwork, averaged: float, run: RunContext) -> TrainedNetwork:
    """The cascade of two networks, whose weights are kept in a folder of its own."""
    assert isinstance(first.network, EarlyExitNetwork)
    name = f"{first.name}+{second.name}"
    network = Cascade(first.network, second.network, averaged)
    save_network(network, run.store.student(name))
    macs = cascade_costs(first.macs_per_exit, second.macs_per_exit)
    return TrainedNetwork(
        name, network, run.store.student(name), "finished", macs, points=POINTS, cascade=(first.name, second.name)
    )


def _file(trained: TrainedNetwork, first: NetworkFile, second: NetworkFile, run: RunContext) -> NetworkFile:
    """A cascade's file of one kind, of those of its networks."""
    network, path = trained.network, path_of(trained, first.kind)
    assert isinstance(network, Cascade)
    segments = joined(first.segments, second.segments, network)
    logits = cascade_logits(first.val_logits, second.val_logits, network.averaged)
    write_file(segments, [0.0] * (len(logits) - 1), path, {}, run.context.exit_rule)
    forms = [file.quantized for file in (first, second) if file.quantized is not None]
    text = " + ".join(dict.fromkeys(form.text for form in forms))
    quantized = Quantized(segments, forms[-1].how, text) if forms else None
    return NetworkFile(trained, first.kind, path, segments, logits, quantized=quantized)


def cascade_points(file: NetworkFile, others: Sequence[NetworkFile]) -> NetworkFile:
    """The file with the few points of its curve that add most to the front of `others`, whose curves are known."""
    front = [point for other in others if other.kind == file.kind for point in other.curve]
    return replace(file, points=tuple(dict.fromkeys([*few(file.curve, front, POINTS), *file.wanted])))
