"""Latency of files, of students at their points, and of images in an array."""

import numpy as np
import pytest

import erde_nas

QUICK = {
    "name": "quick",
    "measure": {
        "warmup_calls": 1, "calls_per_block": 5, "blocks": 3, "processes": 1, "stream_images": 8, "allowance_s": 0,
    },
}  # fmt: skip


@pytest.fixture
def students(finished, shortlisted):
    run = erde_nas.load_run(finished)
    return [s for s in run.points() if s.name == shortlisted and s.point.file.endswith("/model.onnx")]


def test_a_student_is_measured_at_its_point(students):
    """The estimate is the cost of every exit times the share of images that leaves there at these thresholds."""
    for student in students:
        (found,) = erde_nas.measure(student, QUICK)
        latency = found.latency
        assert (found.profile, found.file, latency.source) == ("quick", str(student.file), "estimated")
        assert found.exit_fractions == student.exit_fractions
        assert latency.expected_mean == pytest.approx(np.dot(latency.per_exit, student.exit_fractions))
        assert (latency.mean, latency.precision, latency.threads) == (None, "fp32", 1)


def test_images_in_an_array_are_timed_as_a_stream(students):
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)
    heard = []
    found = erde_nas.measure(students[0], QUICK, images, progress=lambda share, text: heard.append((share, text)))
    latency = found[0].latency
    assert latency.source == "measured"
    assert 0 < latency.p50 <= latency.p95 <= latency.p99
    leaves = [answer.exit_index for answer in students[0].predict(images[:8])]
    shares = [leaves.count(exit_index) / 8 for exit_index in range(len(latency.per_exit))]
    assert list(found[0].exit_fractions) == pytest.approx(shares)
    assert any("process 1/1" in text for _, text in heard)
    assert all(0 <= share <= 1 for share, _ in heard)
    with pytest.raises(erde_nas.UserError, match=r"takes uint8 images of shape \(n, 1, 16, 16\), but got float64"):
        erde_nas.measure(students[0], QUICK, images.astype(float))


def test_two_files_have_a_ratio(students, capsys):
    found = erde_nas.measure(students[0].file, QUICK, compare=students[0].file.with_name("model.int8.onnx"))
    assert [measured.ratio is None for measured in found] == [True, False]
    assert found[1].ratio.ratio > 0
    assert "times as long" in str(found)
    assert found._repr_html_().count("<tr>") == 3
    assert capsys.readouterr() == ("", ""), "silent"


def test_a_profile_that_fails_leaves_the_others(students):
    far = {**QUICK, "name": "far", "match": {"cpu": "None"}}
    found = erde_nas.measure(students[0].file, [far, QUICK])
    assert [measured.latency is None for measured in found] == [True, False]
    assert "profile 'far': it is for a CPU named 'None'" in found.errors[0]
    assert found[0].to_dict() == {"profile": "far", "error": found.errors[0]}
    with pytest.raises(erde_nas.UserError, match="profile 'far': it is for a CPU named 'None'"):
        erde_nas.measure(students[0].file, far)
