"""Profiles: what a runtime cannot do on any machine is refused when the file is read."""

import pytest

from erde_nas.errors import UserError
from erde_nas.measurement.profile_kinds import all_kinds, kinds_of, measured_together
from erde_nas.recipe.profile import load_profile
from erde_nas.registry import RUNTIMES

*OTHERS, LAST = map(repr, RUNTIMES)
ONE_OF = f"{', '.join(OTHERS)} or {LAST}"


def load(folder, text):
    (folder / "p.yaml").write_text(f"name: p\n{text}\n")
    return load_profile(folder / "p.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runtime: tflite", f'runtime: should be {ONE_OF} (got "tflite"); choose one of these'),
        ("runtime: openvin", f"runtime: should be {ONE_OF} (got \"openvin\"); did you mean 'openvino'?"),
        ("runtime: torch\nprecision: int8", "the runtime torch runs fp32, bf16, but got precision: int8"),
        ("precision: bf16", "the runtime onnxruntime runs fp32, int8, but got precision: bf16"),
        ("runtime: openvino\ndevice: cuda", "the runtime openvino runs on cpu, but got cuda"),
        ("runtime: torch\nprovider: X", "provider is for the runtime onnxruntime, but got X for torch"),
    ],
)
def test_what_a_runtime_cannot_do_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_every_precision_has_its_files(tmp_path):
    kinds = {
        "precision: int8": ("fp32", "int8"),
        "runtime: openvino\nprecision: int8": ("fp32", "int8"),
        "runtime: openvino\nprecision: bf16": ("bf16-openvino",),
        "runtime: torch\nprecision: bf16": ("bf16-torch",),
        "runtime: torch-compile\nprecision: bf16": ("bf16-torch",),
    }
    profiles = [load(tmp_path, text) for text in kinds]
    assert [tuple(map(str, kinds_of(profile))) for profile in profiles] == list(kinds.values())
    assert [str(kind) for kind in all_kinds(profiles)] == ["fp32", "bf16-openvino", "bf16-torch", "int8"]


def test_providers_are_measured_apart(tmp_path):
    profiles = (load(tmp_path, "threads: 1"), load(tmp_path, "provider: XnnpackExecutionProvider"))
    assert [len(group) for group in measured_together(profiles).values()] == [1, 1]
