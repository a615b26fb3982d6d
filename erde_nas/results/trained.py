"""The trained networks of a run that are to be measured: teacher, baselines, students."""

from collections.abc import Sequence

from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.errors import UserError
from erde_nas.measurement.failures import LeftOut, leaving_out
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, drop_early_exits
from erde_nas.networks.weights import load_network
from erde_nas.results.network_files import (
    TrainedNetwork,
)
from erde_nas.run.context import RunContext


def teachers_of(run: RunContext) -> tuple[TrainedNetwork, list[TrainedNetwork]]:
    """The teacher without early exits, and with them as a baseline where it has some."""
    folder, teacher, macs = run.store.folder / "teacher", run.context.teacher, run.context.teacher_macs
    network = teacher.early_exit
    if network is None:
        last = teacher.network.exit(-1) if isinstance(teacher.network, ForeignTeacher) else teacher.network
        return TrainedNetwork("teacher", last, folder, "finished", macs[-1:], "no-exits", "teacher", 1), []
    whole = drop_early_exits(network)
    plain = TrainedNetwork("teacher", whole, folder, "finished", _macs(whole), "no-exits", "teacher", 1)
    own = TrainedNetwork("teacher", network, folder, "finished", macs, "model", "teacher_with_exits", 1)
    return plain, [own] if len(network.segments) > 1 else []


def students_of(run: RunContext, students: Sequence[str], left_out: LeftOut) -> list[TrainedNetwork]:
    networks = []
    for name in students:
        with leaving_out(left_out, name):
            networks.append(_student(run, name))
    return networks


def _student(run: RunContext, name: str) -> TrainedNetwork:
    network = load_network(run.store.student(name) / "weights.safetensors")
    record = run.store.record(name)
    if record is None or record.stage not in ("finished", "pruned"):
        raise UserError(f"{name} is not finished")
    if record.stage == "finished":
        return TrainedNetwork(name, network, run.store.student(name), "finished", _macs(network))
    kept, cut_of = record.kept_exits or (), record.parent if record.kept_exits else ""
    return TrainedNetwork(
        name, network, run.store.student(name), "pruned", _macs(network), cut_of=cut_of, kept_exits=kept
    )


def best_without_exits(run: RunContext, networks: Sequence[TrainedNetwork]) -> str:
    """The student without exits that is made of the finished one which is best on validation when nothing leaves early:
    itself, where it has one exit."""
    validation = run.context.dataset.validation

    def accuracy(trained: TrainedNetwork) -> float:
        return float((all_logits(trained.network, validation.images)[-1].argmax(-1) == validation.labels).mean())

    best = max((trained for trained in networks if trained.stage == "finished"), key=accuracy)
    exits = len(all_logits(best.network, validation.images[:1]))
    last = (exits - 1,)
    same = [trained for trained in networks if (trained.cut_of, trained.kept_exits) == (best.name, last)]
    return best.name if exits == 1 else same[0].name


def _macs(network: EarlyExitNetwork) -> tuple[float, ...]:
    return tuple(map(float, macs_per_exit(network)))
