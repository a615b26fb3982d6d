"""Kinds of a network's deployables: the precision that it is calculated in, and the runtime that it is made for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FileKind:
    """`runtime` is empty where the file answers alike in every runtime. In bf16 each one rounds otherwise, so that
    accuracy and thresholds hold for one alone. As a text, in the names of files, it is `bf16-openvino` or `int8`."""

    precision: str  # fp32, bf16 or int8
    runtime: str = ""

    def __str__(self) -> str:
        return f"{self.precision}-{self.runtime}" if self.runtime else self.precision


FP32, INT8 = FileKind("fp32"), FileKind("int8")
