"""How a training step runs on this machine."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

Precision = Literal["fp32", "bf16"]
Layout = Literal["channels_last", "contiguous"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True)
class Compute:
    """The precision, the threads, the seconds a step took when this was chosen, and the order of the axes in memory."""

    precision: Precision
    threads: Annotated[int, Field(ge=1)]
    seconds_per_step: Annotated[float, Field(ge=0)]
    layout: Layout = "channels_last"

    @property
    def text(self) -> str:
        """In words, without the time."""
        return f"{self.precision}, {self.layout}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"


DETERMINISTIC = Compute("fp32", 1, 0.0, "contiguous")  # the same sums in the same order, on every CPU of one kind
