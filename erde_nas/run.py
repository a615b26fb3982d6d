"""One run at work: what every stage of the pipeline is handed."""

from dataclasses import dataclass

from erde_nas.progress import Meter
from erde_nas.shared import Shared
from erde_nas.space import Space
from erde_nas.store import RunStore

CANDIDATE_S = 1.5  # estimated: exporting, quantizing and timing one candidate
FILE_S = 1.5  # estimated: exporting, timing and testing one final file


@dataclass(frozen=True)
class Run:
    """The run folder, what all candidates share, what may vary, and the progress meter."""

    store: RunStore
    shared: Shared
    space: Space
    meter: Meter
