"""The run folder: begun, continued, refused, locked, and readable after a kill in the middle of a write."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import HardwareProfile, LimitsSection, MatchSection, load_profile
from erde_nas.recipe.recipe import CompressSection, FinishSection, Recipe, load_recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.run.folder import RunStore, check_identity, discard_empty, existing_run, locked, open_run
from erde_nas.run.manifest import is_run
from erde_nas.run.students import StudentRecord
from erde_nas.space.trial import Choice, Trial
from tests.space.builders import findings, judged

SHORT = OptimizerSection(epochs=1)
RECIPE = Recipe(
    name="toy",
    dataset=DatasetSection(name="digits"),
    space=SpaceSection(depths=((1, 2),), widths=((8, 16),)),
    train=SHORT,
    finish=FinishSection(train=SHORT),
    compress=CompressSection(train=SHORT),
)
PROFILES = (
    HardwareProfile(name="one", limits=LimitsSection(latency_ms=2.5)),
    HardwareProfile(name="two", match=MatchSection(architecture=("x86_64",), cpu="Xeon")),
)
IDENTITY = {"dataset": "abc", "device": "cpu"}
CHILD = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@dataclass
class Toy:
    """Choices of every type that a recipe can give."""

    parameters: dict[str, tuple[Choice, ...]] = field(
        default_factory=lambda: {"family": ("resnet", "mobilenet"), "width": (8, 16, 24), "share": (0.5, 1.0, 2.0)}
    )

    def identify(self, params: Any) -> str:
        return str(params)


def trial(number: int, **changes: Any) -> Trial:
    """A trial as the search makes them, with numbers that need all of their digits."""
    fields: dict[str, Any] = {
        "number": number,
        "student": f"student{number}",
        "params": {"family": "resnet", "width": 8 * (number % 3 + 1), "share": 0.5},
        "state": "complete",
        "objectives": (1 / (number + 3), 0.1 + 0.2),
        "constraints": (-0.25, 1 / 3),
        "findings": findings(judged([i / 700 for i in range(300)], params=number)),
        "attrs": {"generation": number, "parents": [0, 1], "state": {"key": [0.1, -1e-300]}},
    }
    return Trial(**{**fields, **changes})


@contextmanager
def opened(
    folder: Path,
    recipe: Recipe = RECIPE,
    profiles: tuple[HardwareProfile, ...] = PROFILES,
    identity: dict[str, Any] = IDENTITY,
) -> Iterator[RunStore]:
    with open_run(folder, recipe, profiles, identity) as store:
        yield store


def with_study(store: RunStore) -> RunStore:
    store.open_study(("error", "macs"), Toy())
    return store


def other(section: str, **values: Any) -> Recipe:
    return RECIPE.model_copy(update={section: getattr(RECIPE, section).model_copy(update=values)})


def test_a_new_run_can_be_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with opened(folder) as store:
        assert store.recipe() == RECIPE
        assert store.profiles() == list(PROFILES)
    again = existing_run(folder)
    assert again.recipe() == RECIPE
    assert again.profiles() == list(PROFILES)
    manifest = again.manifest()
    assert manifest.schema == 1
    assert manifest.recipe == "toy"
    assert manifest.profiles == ("one", "two")
    assert manifest.identity == IDENTITY


def test_every_shipped_recipe_and_profile_survives_the_run_folder(tmp_path: Path) -> None:
    profiles = tuple(load_profile(path) for path in resources.shipped("profiles").values())
    for name, path in resources.shipped("search").items():
        with opened(tmp_path / name, load_recipe(path), profiles) as store:
            assert store.recipe() == load_recipe(path)
            assert store.profiles() == list(profiles)


@pytest.mark.parametrize("name", ["no", "5", "~", "ü: #", "2020-01-01", "[a]", "true", "1_000"])
def test_texts_that_look_like_something_else_stay_texts(tmp_path: Path, name: str) -> None:
    recipe = RECIPE.model_copy(update={"name": name, "description": f"{name}\nand more"})
    with opened(tmp_path / "run", recipe) as store:
        assert store.recipe() == recipe


def test_students_and_the_manifest_gather_what_is_known(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as store:
        assert store.record("abc") is None
        store.update_student("abc", stage="searched", searched=findings(judged()))
        store.update_student("abc", stage="finished")
        assert store.record("abc") == StudentRecord("finished", searched=findings(judged()))
        assert store.records() == {"abc": store.record("abc")}
        assert (store.student("abc") / "metrics.json").is_file()
        store.update_manifest(compute=Compute("fp32", 1, 0.5))
    assert existing_run(tmp_path / "run").manifest().compute == Compute("fp32", 1, 0.5)
    assert existing_run(tmp_path / "run").manifest().recipe == "toy"


def test_time_is_counted_over_continuations_and_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"s": 10.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["s"])

    def passes(seconds: float) -> None:
        now["s"] += seconds

    with opened(tmp_path / "run") as store:
        passes(4.0)
        with store.timed("search"):
            passes(2.5)
    passes(100.0)  # between two starts
    with opened(tmp_path / "run") as store:
        with suppress(KeyboardInterrupt), store.timed("search"):
            passes(1.0)
            raise KeyboardInterrupt
        with store.timed("report"):
            passes(0.25)
        passes(2.0)
        assert store.seconds() == 9.75
        store.record_time()
    assert existing_run(tmp_path / "run").manifest().timings_s == {"start": 6.0, "search": 3.5, "report": 0.25}


def test_trials_come_back_exactly(tmp_path: Path) -> None:
    trials = [
        trial(0),
        trial(1, params={"family": "mobilenet", "width": 24, "share": 2.0}),
        trial(2, state="failed", objectives=(), constraints=(), findings=None, reason="the loss became nan"),
        trial(3, attrs={}, constraints=()),
        trial(4, findings=findings(judged([i / 7000 for i in range(1024)]))),  # as long as a curve can be
    ]
    with opened(tmp_path / "run") as store:
        with_study(store)
        assert store.trials() == []
        for one in trials:
            store.add(one)
    with opened(tmp_path / "run") as store:
        stored = with_study(store).trials()
        assert stored == trials
        for one, back in zip(trials, stored, strict=True):
            assert {key: type(value) for key, value in back.params.items()} == {
                key: type(value) for key, value in one.params.items()
            }
        store.add(trial(5))
        assert store.trials() == [*trials, trial(5)]


def test_a_trial_outside_the_space_is_not_stored(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as store:
        with_study(store)
        with pytest.raises(ValueError, match="32"):
            store.add(trial(0, params={"family": "resnet", "width": 32, "share": 0.5}))
        assert store.trials() == []


def test_more_trials_or_another_description_continue_a_run(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as store:
        store.update_manifest(overhead_s=1.5)
    more = other("search", trials=99).model_copy(update={"description": "longer", "profiles": ("one", "two")})
    with opened(tmp_path / "run", more) as store:
        assert store.manifest().overhead_s == 1.5
        assert store.recipe() == more


@pytest.mark.parametrize(
    ("recipe", "differs"),
    [
        (RECIPE.model_copy(update={"name": "other"}), r"recipe\.name"),
        (other("dataset", validation=0.2), r"recipe\.dataset"),
        (other("views", flip=True), r"recipe\.views"),
        (other("teacher", stem=8), r"recipe\.teacher"),
        (other("space", max_exits=2), r"recipe\.space"),
        (other("distil", kd_weight=0.5), r"recipe\.distil"),
        (other("train", epochs=2), r"recipe\.train"),
        (other("search", seed=1), r"recipe\.search"),
        (other("search", seed=1, trials=7), r"recipe\.search"),
        (other("finish", students=1), r"recipe\.finish"),
        (other("compress", prune=(0.25,)), r"recipe\.compress"),
    ],
)
def test_another_recipe_is_refused_by_section(tmp_path: Path, recipe: Recipe, differs: str) -> None:
    with opened(tmp_path / "run"):
        pass
    before = (tmp_path / "run" / "recipe.yaml").read_bytes()
    message = rf"run holds another run \(recipe 'toy'\): {differs} differ; give another folder"
    with pytest.raises(UserError, match=message), opened(tmp_path / "run", recipe):
        pass
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("profiles", "identity", "differs"),
    [
        (PROFILES[:1], IDENTITY, "profiles"),
        (PROFILES[::-1], IDENTITY, "profiles"),
        ((PROFILES[0].model_copy(update={"threads": 2}), PROFILES[1]), IDENTITY, "profiles"),
        (PROFILES, {**IDENTITY, "dataset": "other pixels"}, "dataset"),
        (PROFILES, {**IDENTITY, "device": "cuda"}, "device"),
        (PROFILES[:1], {"dataset": "abc"}, "device, profiles"),
    ],
)
def test_other_profiles_data_or_devices_are_refused(
    tmp_path: Path, profiles: tuple[HardwareProfile, ...], identity: dict[str, Any], differs: str
) -> None:
    with opened(tmp_path / "run"):
        pass
    with pytest.raises(UserError, match=f": {differs} differ;"), opened(tmp_path / "run", RECIPE, profiles, identity):
        pass


def test_a_run_of_the_version_before_is_continued(tmp_path: Path) -> None:
    """The hashes are those that it wrote for this recipe and these profiles: a later key must not change them."""
    with opened(tmp_path / "run") as store:
        assert store.manifest().hashes == {
            "recipe.name": "1979befe1b20", "recipe.dataset": "9022a7696b8d", "recipe.views": "2bbb9ebc9b03",
            "recipe.teacher": "b40c3d70fd11", "recipe.student": "74234e98afe7", "recipe.space": "f7e15ef51ced",
            "recipe.distil": "42966cacd0e2", "recipe.train": "233615836bee", "recipe.search": "49b893b95c5a",
            "recipe.supernet": "7d890fe928ff", "recipe.finish": "4d83790653fd", "recipe.compress": "76f2c34957cd",
            "profiles": "017c576ea0cf",
        }  # fmt: skip


def test_several_differences_are_named_together(tmp_path: Path) -> None:
    with opened(tmp_path / "run"):
        pass
    changed = other("train", epochs=2).model_copy(update={"views": other("views", cutout=2).views})
    with (
        pytest.raises(UserError, match=r"dataset, recipe\.train, recipe\.views differ"),
        opened(tmp_path / "run", changed, PROFILES, {**IDENTITY, "dataset": "x"}),
    ):
        pass


def test_somebodys_folder_or_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").touch()
    with pytest.raises(UserError, match=r"photos is not empty \(holiday\.jpg\) and holds no run; give a new folder"):
        open_run(folder, RECIPE, PROFILES, IDENTITY).__enter__()
    with pytest.raises(UserError, match=r"holiday\.jpg is a file; give a folder"):
        open_run(folder / "holiday.jpg", RECIPE, PROFILES, IDENTITY).__enter__()
    assert os.listdir(folder) == ["holiday.jpg"]


@pytest.mark.parametrize("content", ['{"name": "a web page", "icons": []}', "[]", "no json"])
def test_another_programs_manifest_is_no_run(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "site"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "me.yaml").write_text("mine")
    (folder / "manifest.json").write_text(content)
    assert not is_run(folder)
    discard_empty(folder, RECIPE, PROFILES, IDENTITY)
    assert (folder / "profiles" / "me.yaml").read_text() == "mine"
    assert (folder / "manifest.json").read_text() == content
    with pytest.raises(UserError, match=r"site is not empty \(manifest\.json\) and holds no run"), opened(folder):
        pass
    with pytest.raises(UserError, match="site holds no run"):
        existing_run(folder)


def test_what_a_kill_in_the_first_moment_leaves_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", ".manifest.json.123.tmp"):
        (folder / name).touch()
    with opened(folder) as store:
        assert store.recipe() == RECIPE
    assert sorted(os.listdir(folder)) == [".lock", "manifest.json", "profiles", "recipe.yaml"], "it is swept"


def test_a_kill_after_the_manifest_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with opened(folder):
        pass
    shutil.rmtree(folder / "profiles")
    (folder / "recipe.yaml").unlink()
    with opened(folder) as store:
        assert store.recipe() == RECIPE
        assert store.profiles() == list(PROFILES)


@pytest.mark.parametrize("name", ["recipe.yaml", "profiles/one.yaml", "teacher/weights.safetensors", "study.db"])
def test_files_with_the_names_of_ours_are_somebodys(tmp_path: Path, name: str) -> None:
    """Ours is what carries our mark, a manifest."""
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("name: toy  # with a comment of mine")
    message = rf"run is not empty \({name.split('/')[0]}\) and holds no run; give a new folder"
    discard_empty(tmp_path / "run", RECIPE, PROFILES, IDENTITY)
    with pytest.raises(UserError, match=message), opened(tmp_path / "run"):
        pass
    assert mine.read_text() == "name: toy  # with a comment of mine"
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_teacher_file_of_other_content_is_another_run(tmp_path: Path) -> None:
    known = {**IDENTITY, "teacher file": "abc"}
    with opened(tmp_path / "run"):
        pass  # by an earlier version, which did not record the teacher's file
    with opened(tmp_path / "run", identity=known) as store:
        assert store.manifest().identity == known
        with pytest.raises(UserError, match="run began with another dataset than is there now; bring that back"):
            check_identity(store, {"dataset": "other pixels", "teacher file": "abc"})
        check_identity(store, {"dataset": "abc"})
    with (
        pytest.raises(UserError, match=": teacher file differ;"),
        opened(tmp_path / "run", identity={**known, "teacher file": "def"}),
    ):
        pass


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent holds no run .*erde-nas search RECIPE --out .*absent"):
        existing_run(tmp_path / "absent")


def test_a_run_without_students_makes_room_for_a_corrected_recipe(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with opened(folder) as store:
        with_study(store).add(trial(0, state="failed", objectives=(), reason="nan"))
        (folder / "study.db-journal").touch()
    discard_empty(folder, RECIPE, PROFILES, IDENTITY)
    with opened(folder) as store:
        assert len(with_study(store).trials()) == 1, "what failed in this very run is not forgotten"
    discard_empty(folder, other("train", epochs=2), PROFILES[:1], IDENTITY)
    with opened(folder, other("train", epochs=2), PROFILES[:1]) as store:
        assert with_study(store).trials() == []
        assert store.profiles() == [PROFILES[0]]


def test_a_run_with_students_is_never_discarded(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as store:
        store.update_student("abc", stage="searched")
        with_study(store).add(trial(0))
    discard_empty(tmp_path / "run", other("train", epochs=2), PROFILES, IDENTITY)
    with opened(tmp_path / "run") as store:
        assert with_study(store).trials() == [trial(0)]
    discard_empty(tmp_path / "nowhere", RECIPE, PROFILES, IDENTITY)
    assert not (tmp_path / "nowhere").exists()


HOLDER = """
import pathlib, sys
from erde_nas.run.folder import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with opened(folder) as store:
        store.update_manifest(overhead_s=1.5)
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=CHILD, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        message = f"another erde-nas is at work in {folder}; wait for it or use another --out"
        with pytest.raises(UserError, match=message), opened(folder):
            pass
        with pytest.raises(UserError, match=message):
            discard_empty(folder, other("train", epochs=2), PROFILES, IDENTITY)
        child.kill()  # the system releases the lock, however the process ends
    with opened(folder) as store, pytest.raises(UserError, match="at work"), locked(folder):
        pass
    assert store.manifest().overhead_s == 1.5


KILLER = """
import os, pathlib, random, signal, sys, time
import optuna, sqlalchemy.dialects.sqlite  # once, before the forks
sys.path.insert(0, sys.argv[2])
from test_folder import opened, trial, with_study

def write(told):
    with opened(pathlib.Path(sys.argv[1])) as store:
        number = len(with_study(store).trials())
        while True:
            store.add(trial(number))
            number += 1
            os.write(told, b"%d\\n" % number)

generator = random.Random(0)
for _ in range(3):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        write(writer)
    os.close(writer)
    with open(reader) as told:
        counts = [told.readline() for _ in range(2)]
        time.sleep(generator.uniform(0, 0.03))  # a trial takes about as long
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        counts += told
    print(counts[-1], end="", flush=True)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_whole_trials(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", KILLER, str(folder), str(Path(__file__).parent)]
    told = subprocess.run(command, capture_output=True, env=CHILD, text=True, check=True).stdout.split()
    assert len(told) == 3
    with closing(sqlite3.connect(folder / "study.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT DISTINCT state FROM trials").fetchall() == [("COMPLETE",)]
    with opened(folder) as store:
        stored = with_study(store).trials()
    assert int(told[-1]) <= len(stored) <= int(told[-1]) + 1  # the last may be stored but not told
    assert stored == [trial(number) for number in range(len(stored))]


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_damaged_study_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path / "run") as store:
        (tmp_path / "run" / "study.db").write_bytes(content)
        if content:
            with pytest.raises(UserError, match=r"study\.db: .*not a database; free space or restore the file"):
                with_study(store)
        else:  # an empty file is a new database to SQLite
            assert with_study(store).trials() == []


def test_a_run_whose_plug_in_is_gone_says_so(tmp_path):
    with opened(tmp_path / "run") as store:
        path = store.folder / "recipe.yaml"
        path.write_text(path.read_text() + "exit_rule: gini\n")
        with pytest.raises(UserError, match=r"exit_rule: should be 'entropy'(?s:.*)install again the package"):
            store.recipe()
