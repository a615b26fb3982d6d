"""Which int8 the machines of hardware profiles calculate right and fast: decided by their instructions, untimed."""

from collections.abc import Sequence

from erde_nas.device.instructions import Cpu
from erde_nas.device.machine import this_cpu
from erde_nas.measurement.target import machine_of
from erde_nas.onnx_files.quantize import Quantization, suited_to
from erde_nas.recipe.profile import HardwareProfile


def int8_form(profiles: Sequence[HardwareProfile]) -> Quantization:
    """One form for all profiles that int8 files serve. Raises UserError where a device elsewhere cannot be asked."""
    served = [profile for profile in profiles if profile.precision == "int8"]
    machines: list[Cpu] = [machine_of(profile) for profile in served if profile.elsewhere]
    if len(machines) < len(served) or not served:
        machines.append(this_cpu())
    return suited_to(machines, [name for profile in served for name in profile.match.architecture or ()])


def explained(how: Quantization, profiles: Sequence[HardwareProfile]) -> str:
    """Why files are made like that, in a line for the start of a run."""
    names = ", ".join(profile.name for profile in profiles if profile.precision == "int8")
    if how.weight_bits == 8:
        return f"int8 files get 8-bit weights: the machines of {names} multiply them exactly; older x86 does not"
    return f"int8 files get 7-bit weights: not every machine of {names} is known to multiply 8-bit ones exactly"
