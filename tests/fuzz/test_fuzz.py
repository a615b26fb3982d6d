"""A short campaign: every reader takes files that were changed at random, or refuses them in words for the user.

tests/fuzz/campaign.py is the long one; SECURITY.md says what it found.
"""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from erde_nas.device.bundle_runner import RunError
from erde_nas.errors import UserError
from tests.fuzz.targets import TARGETS

INPUTS = 12
SLOW = ("page",)  # a report with its figures takes seconds; the campaign has it


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in SLOW])
def test_what_was_changed_at_random_is_read_or_refused(name, tmp_path_factory):
    target = TARGETS[name]

    def read(data: bytes) -> None:
        with contextlib.suppress(UserError, RunError):
            target.read(data, tmp_path_factory.mktemp("fuzz"))

    how = settings(
        report_multiple_bugs=False,
        print_blob=False,
        max_examples=INPUTS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    how(given(target.inputs())(read))()


@pytest.mark.parametrize("name", ["pareto.json", "manifest.json"])
def test_the_files_that_are_changed_can_be_read_as_they_are(name, tmp_path):
    from tests.fuzz.targets import HERE

    TARGETS[name].read((HERE / name).read_bytes(), tmp_path)
    assert json.loads((HERE / name).read_text())["schema"] == 1
