"""`erde_nas.compress`: the students of a run -> smaller ones, measured again."""

from collections.abc import Mapping, Sequence
from os import PathLike

from erde_nas.api.inputs import folder_of, texts_of
from erde_nas.api.progress import Progress, telling
from erde_nas.api.run import Run
from erde_nas.errors import UserError
from erde_nas.recipe.goal import parse_goal


def compress(
    run: Run | str | PathLike[str],
    students: Sequence[str] | None = None,
    *,
    target: Mapping[str, float] | Sequence[str] | None = None,
    profile: str | None = None,
    device: str = "auto",
    progress: Progress = False,
) -> Run:
    """Prune, quantize and measure again: the given students, or the run's shortlist.

    Args:
        run: a run, or its folder.
        students: ids of candidates of the run.
        target: goals for one student, all of which count: latency_ms (mean), speedup (over the fp32 teacher), size_kb,
            accuracy_drop (below the teacher on validation; 0.01 is one point). A dictionary, or texts KEY=VALUE.
            Students are pruned until one reaches them; `Run.target` says which one does, or comes nearest.
        profile: the run's profile that `target` is about, where it has several.
        device: where students are trained: auto, cpu or cuda.
        progress: False is silent, True shows a meter, a function hears `(share, text)`.

    Returns:
        The run as it is now; what came of a target stands in `Run.target`.

    Raises:
        UserError: for a mistake in what was given, and for a folder without a candidate.
        KeyboardInterrupt: on Ctrl+C; what is finished is kept, and the same call continues.
    """
    folder = run.folder if isinstance(run, Run) else folder_of(run)
    if profile is not None and not target:
        raise UserError(f"--profile {profile} says what --target is about; give one, such as --target speedup=10")
    texts = [f"{key}={value}" for key, value in target.items()] if isinstance(target, Mapping) else texts_of(target)
    goal = parse_goal(texts) if texts else None
    with telling(progress) as meter:
        from erde_nas import pipeline

        report, outcome = pipeline.compress(
            folder, texts_of(students), device=device, meter=meter, goal=goal, profile=profile
        )
    return Run(folder, report, outcome)
