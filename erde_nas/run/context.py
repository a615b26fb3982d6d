"""One run at work: what every stage of the pipeline is handed."""

from dataclasses import dataclass, field

from erde_nas.distil.context import TrainingContext
from erde_nas.progress.meter import Meter
from erde_nas.run.folder import RunStore
from erde_nas.run.pace import Pace
from erde_nas.space.space import Space


@dataclass(frozen=True)
class RunContext:
    """The run folder, what all candidates share, what may vary, the progress meter, and how fast all of it is."""

    store: RunStore
    context: TrainingContext
    space: Space
    meter: Meter
    pace: Pace = field(default_factory=Pace)
