"""Whether the parts of a run folder belong together: a student's record names the trial that it is, its weights and
those that it was made of. What does not fit is set aside, and made again like anything that is missing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from erde_nas.errors import UserError
from erde_nas.networks.digest import digest_of
from erde_nas.networks.weights import read_weights, recorded_digest
from erde_nas.run.folder import ASIDE, RunStore
from erde_nas.run.students import StudentRecord
from erde_nas.space.trial import Trial

WEIGHTS = "weights.safetensors"
NAMED = 5  # students that are named one by one


def set_aside_strays(store: RunStore, say: Callable[[str], None]) -> None:
    """Move students that do not belong to the run's study, or whose weights are not theirs, out of the way.

    `say` hears which, and why. Nothing is deleted.
    """
    found = strays(store)
    for number, (name, why) in enumerate(found.items()):
        if number < NAMED:
            say(f"students/{name} does not belong to the rest of the run: {why}")
        store.set_aside(f"students/{name}")
    if found:
        more = f", {len(found) - NAMED} of them not named here," if len(found) > NAMED else ""
        say(f"{len(found)} students{more} are set aside in {store.folder / ASIDE}; what is missing now is made again")
    for parent in {name.rpartition("-x")[0] for name in found if "-x" in name} - found.keys():
        if store.record(parent) is not None:  # which is looked at again, and its students with fewer exits made again
            store.update_student(parent, used_exits=None)


def strays(store: RunStore) -> dict[str, str]:
    """The students that do not belong to the run, and why, by name."""
    trials = {trial.student: trial for trial in store.trials() if trial.state == "complete"}
    records, found = store.records(), dict[str, str]()
    for name in sorted(records, key=lambda name: (name.count("-"), name)):  # what others were made of comes first
        record = records[name]
        why = _kinship_problem(name, record, records, found) or _trial_problem(name, record, trials)
        why = why or weights_problem(store.student(name), record, whole=bool(record.rungs or record.parent))
        if why:
            found[name] = why
    return found


def _kinship_problem(
    name: str, record: StudentRecord, records: Mapping[str, StudentRecord], strays: Mapping[str, str]
) -> str:
    """What is wrong with the student that it was made of."""
    parent = record.parent
    if not parent and record.stage == "failed":  # one whose training failed does not say
        parent = name.rpartition("-")[0]
    if not parent:
        return ""
    if parent not in records or parent in strays:
        return f"{parent}, of which it was made, is not there or does not fit itself"
    made_of, known = record.made_of, records[parent].weights
    return f"it was made of other weights of {parent}" if made_of and known and made_of != known else ""


def _trial_problem(name: str, record: StudentRecord, trials: Mapping[str, Trial]) -> str:
    """What is wrong with the trial of a candidate."""
    if record.searched is None:
        return ""
    if name not in trials:
        return "the study holds no finished trial of it"
    return "" if trials[name].findings == record.searched else "its trial in the study is of another training"


def weights_problem(folder: Path, record: StudentRecord, whole: bool = True) -> str:
    """Why the weights in `folder` are not those that the record tells of; or nothing. `whole`: all of them are read."""
    if record.stage == "failed":
        return ""
    path, known = folder / WEIGHTS, record.weights
    if record.stage == "searched" and record.rungs:
        path, known = folder / f"rung{len(record.rungs) - 1}.safetensors", record.rungs[-1].weights
    elif record.stage == "searched" and (folder / "brief.safetensors").is_file():
        path = folder / "brief.safetensors"
    if not path.is_file():
        return f"{path.name} is missing"
    try:
        digest = digest_of(read_weights(path)) if whole else recorded_digest(path)
    except UserError:
        return f"{path.name} is damaged"
    return f"{path.name} holds other weights than it was left with" if known and digest != known else ""
