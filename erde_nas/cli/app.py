"""The command line: parse, call, print. `main` turns the library's `UserError` into one line and exit code 2."""

import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from erde_nas import __version__
from erde_nas.cli import commands, completion, doctor, option_values
from erde_nas.cli.option_values import above_zero, whole
from erde_nas.cli.yaml_files import profiles, recipes
from erde_nas.errors import UserError
from erde_nas.progress.quiet import quiet_libraries
from erde_nas.report.profiled import profile_table

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Search early-exit image classifiers for a device: distil, measure, prune, quantize, export, report.",
)
data = typer.Typer(no_args_is_help=True, help="Data sets: what is here, and fetching the rest.")
app.add_typer(recipes, name="recipes")
app.add_typer(profiles, name="profiles")
app.add_typer(data, name="data")

MOST_SEED = 2**32 - 1  # what every generator takes
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_ACCESS = (errno.EACCES, errno.EROFS, errno.EPERM)
NO_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)

Out = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)]
Profile = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        autocompletion=completion.profiles,
        help="Hardware profile, instead of the recipe's; repeatable.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        parser=option_values.device,
        autocompletion=completion.devices,
        help="Where students are trained.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with the data set's official files.", show_default=False),
]
EpochsScale = Annotated[
    float | None,
    typer.Option(
        parser=above_zero("--epochs-scale", 1000, "a factor"),
        metavar="FACTOR",
        help="Multiply every number of epochs, for a trial run.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"erde-nas {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """erde-nas."""


@app.command()
def search(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            autocompletion=completion.recipes,
            help="Name or file of a recipe; see `erde-nas recipes list`.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The run's folder; the same command continues what it holds.")
    ],
    profile: Profile = None,
    trials: Annotated[
        int | None,
        typer.Option(
            parser=whole("--trials", 1, 1_000_000), metavar="N", help="Candidates, instead of the recipe's number."
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            parser=above_zero("--hours", 100_000, "hours"),
            metavar="H",
            help="Hours for the whole run. Without --trials: as many candidates as fit, finishing included.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(parser=whole("--seed", 0, MOST_SEED), metavar="N", help="Seed, instead of the recipe's."),
    ] = None,
    epochs_scale: EpochsScale = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    workers: Annotated[
        int | None,
        typer.Option(
            parser=whole("--workers", 1, 10_000),
            metavar="N",
            help="Candidates at once: processes on this machine, with its GPUs in turn and its cores in equal shares; "
            "with --cluster actors there, otherwise one per GPU or CPU.",
            show_default="1",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Ray cluster that evaluates candidates: auto, ray://host:10001.", show_default=False
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database with the study, shared by several searches: postgresql://user@host/database.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Search, distil, compress, export, measure and report; run it again to continue."""
    with _continuable():
        report = commands.search(
            recipe,
            out,
            profiles=profile,
            trials=trials,
            hours=hours,
            seed=seed,
            epochs_scale=epochs_scale,
            device=device,
            data_dir=data_dir,
            workers=workers,
            cluster=cluster,
            storage=storage,
        )
        _print_front(report, out)
        if report["interrupted"]:
            raise KeyboardInterrupt
        _fail_without_device(report)


@app.command()
def report(out: Out, as_json: AsJson = False) -> None:
    """Show a run's front as a table and write its report files again."""
    found = commands.report(out)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print_front(found, out)


@app.command()
def compress(
    out: Out,
    student: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", autocompletion=completion.students, help="A candidate of the run; repeatable."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A goal for one student: latency_ms (mean), speedup (over the fp32 teacher), size_kb or accuracy_drop "
            "(below the teacher, on validation; 0.01 is one point); repeatable, all of them count.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.run_profiles,
            help="The run's profile that --target is about, where it has several.",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Prune, quantize and measure again: the given students, or the run's shortlist.

    With --target, prune until a student reaches the goal, and say which one does, or which one comes nearest.
    """
    with _continuable():
        found = commands.compress(out, student or [], targets=target or [], profile=profile, device=device)
        _print_front(found, out)
        if "target" in found:
            print(f"\n{found['target']['text']}")
        _fail_without_device(found)


@app.command()
def export(
    out: Out,
    student: Annotated[
        str, typer.Option(metavar="ID", autocompletion=completion.students, help="A student of the run.")
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="A new or empty folder.")],
    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="NAME", help="onnx, openvino or executorch; repeatable. Otherwise all installed."
        ),
    ] = None,
) -> None:
    """Write the folder to ship: models, their segments, student.json, a model card, and a runner of one file."""
    for path in commands.export(out, student, to, form or ()):
        print(path)


@app.command("profile")
def profile_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An exported student, or any ONNX classifier.")],
    profile: Annotated[
        list[str],
        typer.Option(
            "--profile",
            metavar="NAME|FILE",
            autocompletion=completion.profiles,
            help="Hardware profile; repeatable.",
        ),
    ],
    images: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Images to time the stream over.")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="OTHER.onnx", help="A second file, and its ratio to the first.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            parser=whole("--size", 1, 65_536),
            metavar="PIXELS",
            help="Height and width of the images, where a file leaves them open.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure an ONNX file under hardware profiles: every exit, and the stream of the given images."""
    rows = commands.profile(model, profile, images, compare, size)
    if any("error" not in row for row in rows):
        print(json.dumps(rows, indent=1) if as_json else profile_table(rows))
    if errors := [row["error"] for row in rows if "error" in row]:
        raise UserError("\n".join(dict.fromkeys(errors)))


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An exported student.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    resize: Annotated[bool, typer.Option("--resize", help="Scale images of another size (bilinear).")] = False,
    as_json: AsJson = False,
) -> None:
    """Classify image files with an exported student, and say at which exit each one left."""
    rows = commands.predict(model, images, resize)
    print(json.dumps(rows, indent=1) if as_json else commands.predict_table(rows))


@app.command()
def distil(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            autocompletion=completion.recipes,
            help="Name or file of a recipe, or the folder of a run.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The comparison's folder; the same command continues it.")],
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KEY=VALUE,...]",
            autocompletion=completion.losses,
            help="A loss, with keys of the recipe's distil section; repeatable, the first is the reference. "
            "Without it: kd+entropy, erde, kd and ce, or the recipe's own with its preset.",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(parser=whole("--seeds", 1, 1000), metavar="N", help="Trainings per loss, from different seeds."),
    ] = 3,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            autocompletion=completion.students,
            help="A candidate of the run, instead of the recipe's student.",
        ),
    ] = None,
    epochs_scale: EpochsScale = None,
    device: Device = "auto",
    data_dir: DataDir = None,
) -> None:
    """Train one student with several losses from several seeds and compare them; run it again to continue."""
    with _continuable():
        for text in commands.distil(
            recipe,
            out,
            losses=loss,
            seeds=seeds,
            student=student,
            epochs_scale=epochs_scale,
            device=device,
            data_dir=data_dir,
        ):
            print(text, end="\n\n")
        print(f"Figure: {out / 'distil.png'}, tables: {out / 'distil.md'}")


@app.command("doctor")
def doctor_command() -> None:
    """What is installed, and which devices are here."""
    print(doctor.render(doctor.diagnose()))


@data.command("list")
def data_list(data_dir: DataDir = None) -> None:
    """Data sets, where they come from, and which are here."""
    print(commands.data_table(data_dir))


@data.command("fetch")
def data_fetch(
    name: Annotated[
        str, typer.Argument(autocompletion=completion.datasets, help="Name of a data set; see `erde-nas data list`.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Download a data set from its official address, verify it, and unpack it."""
    with _continuable():
        print(commands.fetch(name, data_dir))


def _print_front(found: dict[str, Any], out: Path) -> None:
    from erde_nas.report.tables import front_table, summary_sentence

    print(front_table(found))
    print(f"\n{summary_sentence(found)}\n\nReport: {out / 'report.html'}")


def _fail_without_device(found: dict[str, Any]) -> None:
    """A report without the numbers of a profile is not what was asked for."""
    if lost := found.get("unmeasured"):
        reasons = "; ".join(f"profile {name} has no numbers: {reason}" for name, reason in lost.items())
        raise UserError(f"{reasons}. The search, run again, measures what is missing")


@contextmanager
def _continuable() -> Iterator[None]:
    """Around work that the same command takes up again: Ctrl+C says so and gives exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept; the same command continues.", file=sys.stderr)
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 internal error, 2 user error, 130 interrupted."""
    quiet_libraries()  # tests turn warnings into errors
    if isinstance(sys.stdout, io.TextIOWrapper):  # no name of a class or file breaks an output that is not in UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            code = app(standalone_mode=False, prog_name="erde-nas")
        finally:
            sys.stdout.flush()  # here, and not when Python ends, a closed pipe and a full disk can be answered
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        if error.errno not in (*NO_SPACE, *NO_ACCESS, *NO_PATH):
            raise
        _drop_output()
        step = "choose another path" if error.errno in NO_PATH else "make it writable or choose another folder"
        step = "free space" if error.errno in NO_SPACE else step
        _fail(f"{error.filename or 'the output'}: {error.strerror}; {step}, then run it again")
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _refuse(error)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _refuse(error: Any) -> None:
    """What the parser says of a command that it cannot read, in one line; its help where there is no command at all.

    It is click's, which typer brings along under changing names.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    words = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "erde-nas"
    _fail(f"{words}{' See' if words.endswith('?') else '; see'} `{command} --help`")


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """Python would try to write what is left of the output once more when it ends, and complain again."""
    with suppress(OSError):
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
