"""A training on the disk between its epochs: one file, replaced in one step, so that all in it belongs together."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.files import write_atomic
from erde_nas.networks.digest import digest_of
from erde_nas.networks.weights import DIGEST

_COMPUTE = TypeAdapter(Compute)
DRAWN = "drawn"  # the state of the generator, beside the tensors by their numbers


@dataclass(frozen=True)
class SavedTraining:
    """Where a training is kept. `key` is a hash of what determines it: one of another key is not continued."""

    path: Path
    key: str

    def begun(self) -> tuple[int, Compute] | None:
        """The epochs that are done, and how their steps ran; None where nothing of this training is there."""
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
            if about.get("key") != self.key:
                return None
            return int(about["epochs"]), _COMPUTE.validate_json(about["compute"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None  # not begun, or damaged

    @torch.no_grad()
    def restore_(self, tensors: Sequence[Tensor], generator: torch.Generator) -> int:
        """Put `tensors` and the generator where `save` found them; the epochs that are done, 0 where none is kept."""
        if (begun := self.begun()) is None:
            return 0
        with safe_open(self.path, framework="pt") as file:
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            known = (file.metadata() or {}).get(DIGEST)
        if known is not None and known != digest_of(kept):
            return 0  # damaged: it begins anew
        for number, tensor in enumerate(tensors):
            tensor.copy_(kept[str(number)])
        generator.set_state(kept[DRAWN])
        return begun[0]

    def save(self, epochs: int, compute: Compute, tensors: Sequence[Tensor], generator: torch.Generator) -> None:
        """Keep the training after so many epochs. Raises UserError where there is no room."""
        named = {str(number): tensor.detach().cpu().contiguous() for number, tensor in enumerate(tensors)}
        named[DRAWN] = generator.get_state()
        about = {"key": self.key, "epochs": str(epochs), "compute": json.dumps(asdict(compute))}
        about[DIGEST] = digest_of(named)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_atomic(self.path, lambda temporary: save_file(named, temporary, about))
        except SafetensorError as error:
            raise UserError(f"{self.path} cannot be written ({error}); free space and run again") from error

    def remove(self) -> None:
        """Nothing is left to continue."""
        self.path.unlink(missing_ok=True)
