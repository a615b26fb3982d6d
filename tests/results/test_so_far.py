"""The report of a run at work, from a run folder that was written by hand; the folder stays as it is."""

from pathlib import Path

import pytest

from erde_nas.api.run import load_run
from erde_nas.data.load import describe
from erde_nas.errors import UserError
from erde_nas.results.so_far import report_so_far
from erde_nas.run.folder import open_run
from tests.results.test_build_report import DATASET, PROFILES, RECIPE, SPACE, trial
from tests.space.builders import findings, judged


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def _search(folder: Path, *objectives: tuple[float, float], look: bool = True) -> None:
    """A search that has found these (error, ms); what `report` says is looked at while it holds the folder."""
    with open_run(folder, RECIPE, PROFILES, {"dataset": "x"}) as store:
        store.update_manifest(data=describe(DATASET))
        store.open_study(("error", "macs", "params"), SPACE)
        for number, values in enumerate(objectives):
            error, ms = values
            found = judged((1 - error,), latency_ms={"fast": ms, "int8": ms}, macs=100 * ms)
            made = findings(found, per_exit_ms={"fast": [1, 2], "int8": [1, 2]})
            store.add(trial(number, (error, ms, ms), findings=made))
        if look:
            before = _contents(folder)
            run = load_run(folder, so_far=True)
            assert run.results.unfinished
            assert str(run).startswith("This run is not finished")
            assert _contents(folder) == before


def test_a_running_search_shows_its_front(folder: Path) -> None:
    _search(folder, (0.1, 2.0), (0.2, 1.0), (0.3, 3.0))
    report = report_so_far(folder)
    assert len(report.searched) == 3
    assert [point.offered for point in report.points] == [False, False]  # the third is worse in everything
    assert report.fronts == {"macs": (), "fast": (), "int8": ()}  # nothing has been measured
    assert report.estimated_fronts == {"macs": (1, 0), "fast": (1, 0), "int8": (1, 0)}  # cheapest first
    assert (report.dataset.train, report.dataset.classes) == (7, ("a", "b"))
    assert report.teacher is None


def test_it_writes_no_pareto_json(folder: Path) -> None:
    _search(folder, (0.1, 2.0), look=False)
    names = {path.name for path in load_run(folder, so_far=True).report()}
    assert names == {"pareto.csv", "report.md", "report.html", "front.png"}
    with pytest.raises(UserError, match="without a report yet"):
        load_run(folder)


def test_a_run_without_a_candidate_says_so(folder: Path) -> None:
    _search(folder, look=False)
    with pytest.raises(UserError, match="has no candidate yet"):
        load_run(folder, so_far=True)
