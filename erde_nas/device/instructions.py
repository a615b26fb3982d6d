"""What a CPU's instructions decide, known before anything is timed: whether int8 files are exact, and bf16 worth a try.

x86 without VNNI multiplies u8 activations by s8 weights with `vpmaddubsw`, which adds two products in 16 bits and cuts
what does not fit: 255 · 127 · 2 is 64,770, more than 32,767. Weights of 7 bits, -64 to 64, always fit: 255 · 64 · 2 is
32,640. VNNI and AMX add in 32 bits, and so do ARM's kernels, with or without its dot products (oneDNN, "Nuances of int8
computations"; ONNX Runtime, "Quantize ONNX models").
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

EXACT_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimd", "neon")  # with one of them, weights may take all 8 bits
FAST_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")  # multiply and add int8 in one instruction
BF16 = ("avx512_bf16", "amx_bf16", "bf16")
ARM = "aarch64"
ARCHITECTURES = {"amd64": "x86_64", "arm64": ARM}  # Windows' and macOS' names, Linux' names
NAMES = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX", "asimd": "ARM"}  # of EXACT_INT8


class Cpu(Protocol):
    """A machine, as far as its instructions go."""

    @property
    def architecture(self) -> str: ...
    @property
    def features(self) -> tuple[str, ...]: ...


class ThisCpu(NamedTuple):
    """This machine's."""

    architecture: str
    features: tuple[str, ...]


def exact_int8(cpu: Cpu) -> bool:
    """Whether the products of u8 activations and 8-bit weights are added without loss there."""
    return canonical(cpu.architecture) == ARM or has(EXACT_INT8, cpu.features)


def canonical(architecture: str) -> str:
    """Linux' name of an architecture."""
    return ARCHITECTURES.get(architecture.lower(), architecture.lower())


def has(wanted: Iterable[str], features: Iterable[str]) -> bool:
    """Whether one of the instructions `wanted` is among a CPU's `features`."""
    return bool(set(wanted) & set(features))


def in_words(instructions: Iterable[str]) -> str:
    """CPUs with one of these, for reports: "AVX-512 VNNI, AVX-VNNI, AMX or ARM"; "any CPU" where none is needed."""
    known = [NAMES[name] for name in instructions if name in NAMES]
    return " or ".join(filter(None, (", ".join(known[:-1]), *known[-1:]))) or "any CPU"
