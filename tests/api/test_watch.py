"""The page of a run at work, from a run folder that was written by hand."""

import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from erde_nas.api.run import load_run
from erde_nas.api.watch import LatestPage, serve
from erde_nas.data.load import describe
from erde_nas.errors import UserError
from erde_nas.run.folder import RunStore, open_run
from tests.results.test_build_report import DATASET, PROFILES, RECIPE, SPACE, trial
from tests.space.builders import findings, judged


@contextmanager
def running(folder: Path) -> Iterator[RunStore]:
    """A search at work."""
    with open_run(folder, RECIPE, PROFILES, {"dataset": "x"}) as store:
        store.update_manifest(data=describe(DATASET))
        store.open_study(("error", "macs", "params"), SPACE)
        yield store


def add(store: RunStore, number: int) -> str:
    """One more candidate; its name."""
    found = judged((0.9 - number / 100,), latency_ms={"fast": 2.0 - number / 2, "int8": 2.0}, macs=100)
    made = findings(found, per_exit_ms={"fast": [1, 2], "int8": [1, 2]})
    added = trial(number, (0.1 + number / 100, 2.0 - number / 2, 2.0), findings=made)
    store.add(added)
    return added.student


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is looked at whenever somebody asks."""
    monkeypatch.setattr("erde_nas.api.watch.EVERY_S", 0.0)
    monkeypatch.setattr("erde_nas.api.watch.IDLE", 0)


def test_the_page_follows_the_search_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(folder) as store, serve(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:

            def read(path: str = "") -> str:
                with urllib.request.urlopen(server.url + path, timeout=60) as answer:
                    return str(answer.read().decode())

            before = contents(folder)
            waiting, versions = read(), [read("version")]
            assert "holds a run that has no candidate yet" in waiting
            assert "connect-src" in waiting
            assert read("version") == versions[0]
            assert contents(folder) == before
            for number in range(2):
                name = add(store, number)
                before = contents(folder)
                versions.append(read("version"))
                page = read()
                assert name in page
                assert f'data-version="{versions[-1]}"' in page
                assert contents(folder) == before
        finally:
            server.shutdown()
            thread.join()
    assert len({*versions}) == 3


def test_it_is_made_anew_only_where_something_changed_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def load(folder: Path, so_far: bool) -> object:
        made.append(folder)
        return load_run(folder, so_far=so_far)

    monkeypatch.setattr("erde_nas.api.watch.load_run", load)
    folder = tmp_path / "run"
    with running(folder) as store:
        add(store, 0)
        latest = LatestPage(folder)
        first = latest()
        assert latest() is first
        assert len(made) == 1, "nothing changed"
        add(store, 1)
        assert latest() is not first
        monkeypatch.setattr("erde_nas.api.watch.EVERY_S", 3600.0)
        slow = LatestPage(folder)
        shown = slow()
        add(store, 2)
        assert slow() is shown
        assert len(made) == 3


def test_a_page_that_there_is_stays_while_the_run_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(folder) as store:
        add(store, 0)
        latest = LatestPage(folder)
        first = latest()
    for damage in ("{", "[]"):
        (folder / "manifest.json").write_text(damage)
        assert latest() is first


def test_the_saved_page_asks_for_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(folder) as store:
        add(store, 0)
    served = LatestPage(folder)().html
    load_run(folder, so_far=True).report()
    saved = (folder / "report.html").read_text()
    assert "fetch(" in served
    assert not re.search(r"fetch\(|connect-src|data-version", saved)


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_folder_without_a_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="holds no run"):
        serve(tmp_path / name)
