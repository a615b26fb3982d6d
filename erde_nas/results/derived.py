"""Files that are made of other files, before anything is measured or judged: nothing is trained or exported for them.

What is added here stands beside every other file: it is timed briefly, screened, measured, tested and judged alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from erde_nas.compression.int8 import Quantized
from erde_nas.measurement.failures import LeftOut, leaving_out
from erde_nas.onnx_files.cut import cut_segments
from erde_nas.onnx_files.write import Segments, write_file
from erde_nas.results.network_files import NetworkFile, TrainedNetwork, path_of
from erde_nas.run.context import RunContext

Maker = Callable[[Sequence[NetworkFile], RunContext, LeftOut], list[NetworkFile]]
"""The files of trained networks, and of those with fewer exits -> further ones, each with its segments, its validation
logits (exits, n, classes) and its path; their operating points are chosen later. What fails has its reason in LeftOut.
"""
MAKERS: tuple[Maker, ...] = ()


def derived_files(files: Sequence[NetworkFile], run: RunContext, left_out: LeftOut) -> list[NetworkFile]:
    """What every maker gives, of `files`."""
    return [made for maker in MAKERS for made in maker(files, run, left_out)]


def cut_files(
    files: Sequence[NetworkFile], cut: Sequence[TrainedNetwork], run: RunContext, left_out: LeftOut
) -> list[NetworkFile]:
    """The files of the networks `cut`, which have fewer exits than one whose files are there: of the same segments, in
    every kind that the other has."""
    made = []
    for trained in cut:
        for whole in (file for file in files if file.trained.name == trained.cut_of and file.is_student):
            path = path_of(trained, whole.kind)
            with leaving_out(left_out, f"{trained.name}/{path.name}"):
                made.append(_cut(whole, trained, run))
    return made


def _cut(whole: NetworkFile, trained: TrainedNetwork, run: RunContext) -> NetworkFile:
    kept = trained.kept_exits
    segments = Segments(whole.kind, cut_segments(whole.segments.models, kept), trained.network)
    path, form = path_of(trained, whole.kind), whole.quantized
    write_file(segments, [0.0] * (len(kept) - 1), path, {}, run.context.exit_rule)
    quantized = None if form is None else Quantized(segments, form.how, form.text)
    logits = whole.val_logits[list(kept)]
    return replace(whole, trained=trained, path=path, segments=segments, val_logits=logits, quantized=quantized)


def without_exits(file: NetworkFile, files: Mapping[str, NetworkFile]) -> NetworkFile | None:
    """The file of the same kind that is the student of `file` always run to its end; None where there is none, or
    `file` cannot leave early itself."""
    if len(file.val_logits) < 2 or not file.is_student:
        return None
    trained = file.trained
    name = trained.cut_of or trained.name
    last = (trained.kept_exits or (len(file.val_logits) - 1,))[-1]
    return next(
        (
            other
            for other in files.values()
            if (other.trained.cut_of, other.trained.kept_exits, other.kind) == (name, (last,), file.kind)
        ),
        None,
    )
