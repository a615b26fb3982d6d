"""Which int8 files hardware profiles get."""

import pytest

from erde_nas.device.instructions import ThisCpu
from erde_nas.measurement import int8_form as module
from erde_nas.measurement.int8_form import explained, int8_form
from erde_nas.recipe.profile import HardwareProfile, MatchSection

VNNI, OLD_X86 = ThisCpu("x86_64", ("avx2", "avx512_vnni")), ThisCpu("x86_64", ("avx2",))
ARM = ThisCpu("aarch64", ("asimd", "asimddp"))


def profile(name, *, target="here", precision="int8", architecture=None):
    return HardwareProfile(name=name, target=target, precision=precision, match=MatchSection(architecture=architecture))


@pytest.fixture
def machines(monkeypatch):
    """This machine and those behind `ssh:old` and `ssh:arm`; the others cannot be asked."""

    def use(here):
        elsewhere = {"ssh:old": OLD_X86, "ssh:new": VNNI, "ssh:arm": ARM}
        monkeypatch.setattr(module, "this_cpu", lambda: here)
        monkeypatch.setattr(module, "machine_of", lambda profile: elsewhere[profile.target])

    return use


@pytest.mark.parametrize(
    ("here", "targets", "bits", "signed"),
    [
        (VNNI, ["here"], 8, False),
        (OLD_X86, ["here"], 7, False),
        (VNNI, ["ssh:old"], 7, False),  # the target decides, not the machine that makes the file
        (OLD_X86, ["ssh:new"], 8, False),
        (OLD_X86, ["ssh:arm"], 8, True),
        (VNNI, ["here", "ssh:old"], 7, False),
        (VNNI, ["here", "ssh:arm"], 8, False),
        (OLD_X86, ["here", "ssh:new", "ssh:arm"], 7, False),
    ],
)
def test_the_targets_decide(machines, here, targets, bits, signed):
    machines(here)
    profiles = [profile(f"p{i}", target=target) for i, target in enumerate(targets)]
    how = int8_form(profiles)
    assert (how.weight_bits, how.signed) == (bits, signed)
    assert f"{bits}-bit weights" in explained(how, profiles)
    assert ", ".join(p.name for p in profiles) in explained(how, profiles)


def test_profiles_that_take_no_int8_file_have_no_say(machines):
    machines(VNNI)
    both = [profile("a"), profile("b", target="ssh:nobody", precision="fp32")]
    assert int8_form(both).weight_bits == 8


def test_a_profile_for_several_architectures_gets_the_safe_file(machines):
    machines(ARM)
    assert int8_form([profile("a", architecture=("aarch64", "arm64"))]).signed
    how = int8_form([profile("a", architecture=("aarch64", "x86_64"))])
    assert (how.weight_bits, how.signed) == (7, False)
