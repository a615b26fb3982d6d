"""The trials told so far as NNI's single-objective tuners see them: positions of choices, and one loss per trial."""

import nni
import numpy as np

from erde_nas.searching.searchers.memory import Memory
from erde_nas.searching.searchers.scalarise import losses, random_weights
from erde_nas.space.interface import Parameters
from erde_nas.space.trial import Choice, Trial

nni.silence_stdout()  # on import NNI starts to log to stdout, where the program's own output goes


class NniHistory:
    """The trials of a `Memory`; NNI's tuners learn nothing from failed ones.

    Choices travel as their positions, because NNI can turn integers into floats on the way.
    """

    def __init__(self, parameters: Parameters, objectives: int) -> None:
        self._parameters, self._objectives = parameters, objectives
        self.space = {
            name: {"_type": "choice", "_value": list(range(len(choices)))} for name, choices in parameters.items()
        }
        self._memory = Memory()

    def tell(self, trial: Trial) -> None:
        """Keep a trial if it is complete."""
        self._memory.tell(trial)

    @property
    def positions(self) -> list[dict[str, int]]:
        """Of the choices of every trial."""
        choices = self._parameters.items()
        return [{name: c.index(trial.params[name]) for name, c in choices} for trial in self._memory.trials]

    def losses(self, generator: np.random.Generator) -> list[float]:
        """The loss of every trial under weights drawn from `generator`: Python floats, as NNI wants them."""
        weights = random_weights(self._objectives, generator)
        trials = self._memory.trials
        values = np.array([trial.objectives for trial in trials], dtype=np.float64).reshape(-1, self._objectives)
        return losses(values, [trial.constraints for trial in trials], weights).tolist()

    def params(self, positions: dict[str, int]) -> dict[str, Choice]:
        """The choices at `positions`."""
        return {name: choices[int(positions[name])] for name, choices in self._parameters.items()}
