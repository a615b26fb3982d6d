"""What a runtime answers, in this process: where accuracy and thresholds must come from the runtime itself."""

from pathlib import Path

import numpy as np

from erde_nas.device.agent.refusal import short
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Deployable, Setting, forced
from erde_nas.errors import RuntimeRefused, UserError
from erde_nas.files import Scratch


def answers(name: str, deployable: Deployable, setting: Setting, images: np.ndarray, exits: int) -> np.ndarray:
    """Images (n, channels, h, w) uint8 -> the logits of every exit (exits, n, classes), each one forced on all.

    Raises ImportError where the runtime's package is absent, UserError where it refuses the student.
    """
    try:
        return _answers(name, deployable, setting, images, exits)
    except (UserError, ImportError, OSError):
        raise
    except Exception as error:  # whatever the runtime raises
        raise RuntimeRefused(f"{name} does not run {deployable.file.name}: {short(error)}") from error


def _answers(name: str, deployable: Deployable, setting: Setting, images: np.ndarray, exits: int) -> np.ndarray:
    used = runtime(name)
    with Scratch() as folder:
        files = used.prepare(deployable, setting, Path(folder))
        runner = used.load([str(path) for path in files], setting)
        batches = [images[i : i + setting.batch_size] for i in range(0, len(images), setting.batch_size)]
        logits = []
        for number in range(exits):
            levels = forced(number, exits)
            logits.append(np.concatenate([runner.run(batch, levels)[0] for batch in batches]))
    return np.stack(logits)
