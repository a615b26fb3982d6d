"""Runs in folders -> their fronts side by side, and what in their recipes and profiles differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from tabulate import tabulate

from erde_nas.api.inputs import folder_of
from erde_nas.api.run import Run, load_run
from erde_nas.errors import UserError
from erde_nas.files import write_atomic
from erde_nas.report.compared import differences_table, fronts_png, runs_table
from erde_nas.report.tables import Table


@dataclass(frozen=True, repr=False)
class RunComparison:
    """Several runs side by side; as text a table of what each offers, and one of what differs between them."""

    runs: dict[str, Run]  # by the name of the folder

    @cached_property
    def fronts(self) -> Table:
        """A line per profile and run."""
        return runs_table({name: run.results for name, run in self.runs.items()})

    @cached_property
    def differences(self) -> Table:
        """The keys of recipes and profiles that are not alike in all runs."""
        return differences_table(
            {
                name: {
                    **run.recipe.model_dump(mode="json", exclude={"profiles"}),
                    "profiles": {profile.name: profile.model_dump(mode="json") for profile in run.profiles},
                }
                for name, run in self.runs.items()
            }
        )

    def save_picture(self, path: str | PathLike[str]) -> Path:
        """Write one picture of all fronts, a PNG; its path. Raises UserError where it cannot be written."""
        target, data = Path(path), fronts_png({name: run.results for name, run in self.runs.items()})
        try:
            write_atomic(target, lambda temporary: temporary.write_bytes(data))
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror or error}; give another file") from error
        return target

    def __str__(self) -> str:
        same = "Recipes and profiles are alike." if not self.differences.cells else _text(self.differences)
        return f"{_text(self.fronts)}\n\n{same}"

    __repr__ = __str__


def _text(table: Table) -> str:
    align = ["right" if right else "left" for right in table.right]
    body = tabulate(table.cells, table.headers, disable_numparse=True, colalign=align if table.cells else None)
    return "\n".join([table.title, "", body if table.cells else "Nothing yet.", *table.notes])


def compare(runs: Sequence[Run | str | PathLike[str]]) -> RunComparison:
    """Compare the fronts of runs: what each offers under each profile, and which keys of their recipes differ.

    Args:
        runs: two or more, or their folders; a run at work counts with what it has found so far.

    Raises:
        UserError: for fewer than two runs, the same one twice, and a folder without a run.
    """
    found = [run if isinstance(run, Run) else load_run(run, so_far=True) for run in runs]
    folders = [folder_of(run.folder).resolve() for run in found]
    if len(found) < 2:
        raise UserError(f"compare needs two runs or more, but got {len(found)}")
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            raise UserError(f"{found[number].folder} is given twice; name other runs")
    short = [folder.name for folder in folders]
    names = [short[i] if short.count(short[i]) == 1 else str(found[i].folder) for i in range(len(found))]
    return RunComparison(dict(zip(names, found, strict=True)))
