"""`search.rank_check: N`: does cheap evaluation order candidates as a full training does?

N candidates from the whole range of searched accuracy, not only the best, are trained from scratch as long as `finish`
says; after a supernet's search briefly, too, as a search without it would have. In: the stored trials. Out:
`rank_check.json` in the run folder, written after every group of trainings, and the report's rank correlations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np
from pydantic import TypeAdapter

from erde_nas.distil.training.together import train_together
from erde_nas.errors import TrainingFailed
from erde_nas.files import checked, read_json, write_json
from erde_nas.rank_correlation import rank_correlation
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.recipe import Recipe
from erde_nas.report_data.report import CheckedCandidate, CheckedRanks, RankCheck
from erde_nas.run.context import RunContext
from erde_nas.run.folder import RunStore
from erde_nas.searching.evaluate import judge
from erde_nas.space.trial import Trial, judged_students

STAGE = "rank check"  # as the progress meter, the plan and the run's timings call it
FILE = "rank_check.json"  # {student: {training: validation accuracy, or null where it failed}}
Known = dict[str, dict[str, float | None]]
_KNOWN = TypeAdapter(Known)


def check_ranks(run: RunContext) -> None:
    """Train what the recipe's rank check still lacks, as many candidates at once as the device takes."""
    recipe = run.context.recipe
    chosen = spread(run.store.trials(), recipe.search.rank_check)
    for name, (options, repetition) in trainings(recipe).items():
        known = _known(run.store)
        missing = [trial for trial in chosen if name not in known.get(trial.student, {})]
        for start in range(0, len(missing), run.context.workers):
            group = missing[start : start + run.context.workers]
            for trial, accuracy in _train(run, group, name, options, repetition):
                known.setdefault(trial.student, {})[name] = accuracy
            write_json(run.store.folder / FILE, known)
    run.meter.close(STAGE)


def trainings(recipe: Recipe) -> dict[str, tuple[OptimizerSection, int]]:
    """What a candidate is trained to for a rank check, and with which repetition's first weights and order.

    `full` has others than the search's own training, so that the two have no luck in common.
    """
    if not recipe.search.rank_check:
        return {}
    found = {"full": (recipe.finish.train, 1)}
    return found if recipe.search.evaluator == "train" else {"brief": (recipe.train, 0), **found}


def spread(trials: Sequence[Trial], count: int) -> list[Trial]:
    """At most `count` complete trials at even distances in the order of their accuracy, the first and last included.

    Even in the order, not in the accuracy itself: a few outliers would make any two evaluations agree.
    """
    known = judged_students(trials)
    complete = sorted(
        (trial for trial in trials if trial.student in known), key=lambda t: (known[t.student].best_accuracy, t.student)
    )
    places = np.linspace(0, len(complete) - 1, min(count, len(complete))).round().astype(int)
    return [complete[place] for place in places]


def rank_check_report(store: RunStore, evaluator: str, trials: Sequence[Trial]) -> RankCheck | None:
    """The accuracies of every checked candidate, and the rank correlation of each two evaluations; None without any."""
    searched = {student: judged.best_accuracy for student, judged in judged_students(trials).items()}
    own = "one_shot" if evaluator == "supernet" else "brief"
    rows = [
        CheckedCandidate(student, **{own: searched[student], **found})
        for student, found in _known(store).items()
        if student in searched
    ]
    if not rows:
        return None
    pairs = []
    for first, second in (("one_shot", "full"), ("brief", "full"), ("one_shot", "brief")):
        found = rank_correlation(_values(rows, first), _values(rows, second))
        if found is not None:
            pairs.append(CheckedRanks(first, second, **asdict(found)))
    return RankCheck(tuple(rows), tuple(pairs))


def _values(rows: Sequence[CheckedCandidate], name: str) -> list[float]:
    return [np.nan if (accuracy := getattr(row, name)) is None else accuracy for row in rows]


def _known(store: RunStore) -> Known:
    path = store.folder / FILE
    return checked(path, lambda: _KNOWN.validate_python(read_json(path))) if path.is_file() else {}


def _train(
    run: RunContext, group: Sequence[Trial], name: str, options: OptimizerSection, repetition: int
) -> Iterator[tuple[Trial, float | None]]:
    """Train candidates from scratch, all at once; the accuracy of each, None where the training failed."""
    context = run.context
    known = [found for trial in group if (found := trial.findings)]
    networks = [context.build(found.arch, repetition) for found in known]
    with run.store.timed(STAGE):
        trainings = [context.training(network, options, repetition=repetition) for network in networks]
        results = train_together(trainings, len(trainings), _progress(run, group, name, options))
    for trial, found, network, result in zip(group, known, networks, results, strict=True):
        try:
            if isinstance(result, TrainingFailed):
                raise result
            yield trial, judge(network, found.latency_per_exit_ms, context).best_accuracy
        except TrainingFailed as error:
            run.meter.say(f"{STAGE}: {name} training of {trial.student} failed: {error}")
            yield trial, None


def _progress(
    run: RunContext, group: Sequence[Trial], name: str, options: OptimizerSection
) -> Callable[[int, int, int], None]:
    share = run.context.training_seconds(options) / options.epochs / len(group)

    def progress(number: int, done: int, total: int) -> None:
        run.meter.add(STAGE, share, f"{group[number].student}, {name} training, epoch {done}/{total}")

    return progress
