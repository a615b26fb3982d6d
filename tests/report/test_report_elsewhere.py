"""What a report says of devices elsewhere: where a profile was measured, by what, and what has no numbers."""

from erde_nas.report.facts import run_facts
from erde_nas.report.tables import setting
from tests.report.conftest import model

PROFILE = {"runtime": "onnxruntime", "device": "cpu", "threads": 4, "precision": "fp32", "batch_size": 1}
PI = {"cpu": "Cortex-A76 (Raspberry Pi 5)", "cores": 4, "accelerators": [], "platform": "Linux 6.12"}


def test_where_a_profile_was_measured():
    for target, words in (("ssh:pi", "cpu, ssh:pi, 4 threads"), ("here", "cpu, 4 threads")):
        assert (
            setting(model({"profiles": {"far": {**PROFILE, "target": target}}}), "far")
            == f"onnxruntime, {words}, fp32, batch 1"
        )


def test_the_devices_and_what_they_did_not_answer():
    facts = dict(run_facts(model({"environment": {"devices": {"far": PI}}, "unmeasured": {"other": "it was lost"}})))
    assert facts["Devices"] == "far: Cortex-A76 (Raspberry Pi 5), 4 cores, Linux 6.12"
    assert facts["Not measured"] == "other: it was lost"
    assert {"Devices", "Not measured"}.isdisjoint(dict(run_facts(model({}))))
