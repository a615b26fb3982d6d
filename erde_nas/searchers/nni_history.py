"""The trials told so far as NNI's single-objective tuners see them: positions of choices, and one loss per trial."""

import nni
import numpy as np

from erde_nas.records import Choice, Trial
from erde_nas.searchers.interface import Parameters
from erde_nas.searchers.scalarise import losses, random_weights

nni.silence_stdout()  # on import NNI starts to log to stdout, where the program's own output goes


class NniHistory:
    """Complete trials; NNI's tuners learn nothing from failed ones.

    Choices travel as their positions, because NNI can turn integers into floats on the way.
    """

    def __init__(self, parameters: Parameters, objectives: int) -> None:
        self._parameters, self._objectives = parameters, objectives
        self.space = {
            name: {"_type": "choice", "_value": list(range(len(choices)))} for name, choices in parameters.items()
        }
        self.positions: list[dict[str, int]] = []  # of the choices of every trial
        self._values: list[tuple[float, ...]] = []
        self._constraints: list[tuple[float, ...]] = []

    def tell(self, trial: Trial) -> None:
        """Keep a trial if it is complete."""
        if trial.state == "complete":
            self.positions.append({name: c.index(trial.params[name]) for name, c in self._parameters.items()})
            self._values.append(trial.objectives)
            self._constraints.append(trial.constraints)

    def losses(self, generator: np.random.Generator) -> list[float]:
        """The loss of every trial under weights drawn from `generator`: Python floats, as NNI wants them."""
        weights = random_weights(self._objectives, generator)
        values = np.array(self._values, dtype=np.float64).reshape(-1, self._objectives)
        return losses(values, self._constraints, weights).tolist()

    def params(self, positions: dict[str, int]) -> dict[str, Choice]:
        """The choices at `positions`."""
        return {name: choices[int(positions[name])] for name, choices in self._parameters.items()}
