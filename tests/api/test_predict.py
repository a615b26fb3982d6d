"""Images -> answers: files and arrays alike, at the thresholds of a point."""

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy

import erde_nas
from erde_nas.data.load import load_dataset
from erde_nas.networks.logits import all_logits
from erde_nas.networks.weights import load_network
from erde_nas.recipe.images import DatasetSection


@pytest.fixture(scope="module")
def pixels():
    return load_dataset(DatasetSection(name="digits")).test.images[:30]


@pytest.fixture
def students(finished, shortlisted):
    """The points of the trained student's fp32 file."""
    run = erde_nas.load_run(finished)
    return [s for s in run.points() if s.name == shortlisted and s.point.file.endswith("/model.onnx")]


def test_a_student_answers_at_its_points_thresholds(students, pixels):
    """Against the network itself, one exit after the other."""
    logits = all_logits(load_network(students[0].file.with_name("weights.safetensors")), pixels)  # (exits, n, classes)
    shares = softmax(logits.astype(float), axis=-1)
    for student in students:
        answers = student.predict(pixels)
        assert len(answers) == len(pixels)
        for number, answer in enumerate(answers):
            scores = entropy(shares[:, number], axis=-1)
            taken = next(i for i, t in enumerate((*student.thresholds, np.inf)) if scores[i] < t)
            assert (answer.image, answer.exit_index) == (str(number), taken)
            assert answer.class_name == str(shares[taken, number].argmax())
            assert answer.probability == pytest.approx(shares[taken, number].max(), abs=1e-4)
            assert answer.entropy == pytest.approx(scores[taken], abs=1e-3)
            assert answer.logits == pytest.approx(logits[taken, number].tolist(), abs=1e-4)


def test_files_and_arrays_are_answered_alike(students, pixels, tmp_path):
    for number, image in enumerate(pixels[:4]):
        Image.fromarray(image[0]).save(tmp_path / f"{number}.png")
    student = students[-1]
    from_array = [answer.to_dict() | {"image": ""} for answer in student.predict(pixels[:4])]
    for images in (tmp_path, str(tmp_path), sorted(tmp_path.glob("*.png"))):
        assert [answer.to_dict() | {"image": ""} for answer in student.predict(images)] == from_array
    default = erde_nas.predict(student.file, pixels[:4])
    assert len(default) == 4, "a file answers at its own thresholds"
    assert "exit" in str(default).splitlines()[0]
    assert default._repr_html_().count("<tr>") == 5


def test_arrays_that_do_not_fit(students, pixels):
    wanted = r"the student takes uint8 images of shape \(n, 1, 16, 16\), but got "
    with pytest.raises(erde_nas.UserError, match=wanted + r"float32 of shape \(30, 1, 16, 16\)"):
        students[0].predict(pixels.astype(np.float32))
    with pytest.raises(erde_nas.UserError, match=wanted + r"uint8 of shape \(1, 16, 16\)"):
        students[0].predict(pixels[0])


@pytest.mark.parametrize("images", [None, 5, [np.zeros((1, 16, 16), np.uint8)], [[0, 1]]])
def test_what_is_no_image(students, images):
    with pytest.raises(erde_nas.UserError, match="images must be paths of files and folders, or one array"):
        students[0].predict(images)


def test_a_run_is_no_model(finished, pixels):
    run = erde_nas.load_run(finished)
    for call in (erde_nas.predict, erde_nas.measure):
        with pytest.raises(erde_nas.UserError, match="a model must be a student, such as run"):
            call(run, "cpu-1thread" if call is erde_nas.measure else pixels)


def test_paths_to_time_are_one_folder(students, tmp_path):
    with pytest.raises(erde_nas.UserError, match="images must be a folder, or one array"):
        erde_nas.measure(students[0], "cpu-1thread", [tmp_path])


def test_a_slice_of_records_is_a_table(students, pixels):
    answers = students[0].predict(pixels[:3])
    assert answers[1:]._repr_html_().count("<tr>") == 3
    assert str(answers[:0]) == "none"
    assert answers[0] == answers[:1][0]


def test_what_is_left_out_of_a_folder_is_a_warning(students, pixels, tmp_path):
    Image.fromarray(pixels[0][0]).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match="left out: no images by their names: 1"):
        assert len(students[0].predict(tmp_path)) == 1
