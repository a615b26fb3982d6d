"""Hardware profiles -> the kinds of files that serve them, and which of them one measurement serves."""

from collections.abc import Sequence

from erde_nas.device.runtimes import answers_like
from erde_nas.onnx_files.file_kind import FP32, INT8, FileKind
from erde_nas.recipe.profile import HardwareProfile


def kinds_of(profile: HardwareProfile) -> tuple[FileKind, ...]:
    """Which files may serve a profile: int8 allows fp32 as well, since int8 can be slower; a bf16 profile has
    a file of its own, with the thresholds that suit how its runtime rounds."""
    if profile.precision == "bf16":
        return (FileKind("bf16", answers_like(profile.runtime)),)
    return (FP32, INT8) if profile.precision == "int8" else (FP32,)


def all_kinds(profiles: Sequence[HardwareProfile]) -> list[FileKind]:
    """Every kind of file that one of the profiles allows, fp32 first: it is what others are compared with."""
    kinds = {kind for profile in profiles for kind in kinds_of(profile)}
    return sorted(kinds, key=lambda kind: (kind != FP32, str(kind)))


def measured_together(profiles: Sequence[HardwareProfile]) -> dict[str, list[HardwareProfile]]:
    """Profiles that time the same file the same way, so that one measurement serves them, by what they share."""
    groups: dict[str, list[HardwareProfile]] = {}
    for profile in profiles:
        groups.setdefault(profile.setting, []).append(profile)
    return groups
