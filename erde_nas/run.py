"""One run at work: what every stage of the pipeline is handed."""

from dataclasses import dataclass, field

from erde_nas.pace import Pace
from erde_nas.progress import Meter
from erde_nas.shared import Shared
from erde_nas.space import Space
from erde_nas.store import RunStore


@dataclass(frozen=True)
class Run:
    """The run folder, what all candidates share, what may vary, the progress meter, and how fast all of it is."""

    store: RunStore
    shared: Shared
    space: Space
    meter: Meter
    pace: Pace = field(default_factory=Pace)
