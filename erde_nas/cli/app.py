"""The command line: each command parses, calls the public API, and prints what came of it.

The API loads its libraries when a function of it is called, so that `erde-nas --help` stays quick.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import erde_nas
from erde_nas.cli import completion, option_values
from erde_nas.cli.datasets import DataDir, data
from erde_nas.cli.exit_codes import continuable, run_command_line
from erde_nas.cli.option_values import above_zero, whole
from erde_nas.cli.yaml_files import profiles, recipes
from erde_nas.errors import SearchInterrupted, UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Search early-exit image classifiers for a device: distil, measure, prune, quantize, export, report.",
)
app.add_typer(recipes, name="recipes")
app.add_typer(profiles, name="profiles")
app.add_typer(data, name="data")

MOST_SEED = 2**32 - 1  # what every generator takes

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
        print(f"erde-nas {erde_nas.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """erde-nas."""


@app.command()
def search(  # typer makes an option of each parameter
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
    with continuable():
        try:
            run = erde_nas.search(
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
                progress=True,
            )
        except SearchInterrupted as stop:
            _print_run(erde_nas.load_run(stop.folder))
            raise
        _print_run(run)
        _fail_without_device(run)


@app.command()
def report(out: Out, as_json: AsJson = False) -> None:
    """Show a run's front as a table and write its report files again."""
    run = erde_nas.load_run(out)
    run.report()
    if as_json:
        print(json.dumps(run.results, indent=1))
    else:
        _print_run(run)


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
    with continuable():
        run = erde_nas.compress(out, student, target=target, profile=profile, device=device, progress=True)
        _print_run(run)
        if run.target is not None:
            print(f"\n{run.target.text}")
        _fail_without_device(run)


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
    for path in erde_nas.export(out, student, to, formats=form or ()):
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
    found = erde_nas.measure(model, profile, images, compare=compare, size=size, progress=True)
    print(json.dumps([row.to_dict() for row in found], indent=1) if as_json else found.table())
    if found.errors:
        raise UserError("\n".join(found.errors))


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An exported student.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    resize: Annotated[bool, typer.Option("--resize", help="Scale images of another size (bilinear).")] = False,
    as_json: AsJson = False,
) -> None:
    """Classify image files with an exported student, and say at which exit each one left."""
    answers = erde_nas.predict(model, images, resize=resize, say=lambda text: print(f"note: {text}", file=sys.stderr))
    print(json.dumps([answer.to_dict() for answer in answers], indent=1) if as_json else answers)


@app.command()
def distil(  # typer makes an option of each parameter
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
    with continuable():
        comparison = erde_nas.train(
            recipe,
            out,
            losses=loss,
            seeds=seeds,
            student=student,
            epochs_scale=epochs_scale,
            device=device,
            data_dir=data_dir,
            progress=True,
        )
        print(comparison, end="\n\n")
        print(f"Figure: {out / 'distil.png'}, tables: {out / 'distil.md'}")


@app.command("doctor")
def doctor_command() -> None:
    """What is installed, and which devices are here."""
    from erde_nas.api import doctor

    print(doctor.render(doctor.diagnose()))


def _print_run(run: "erde_nas.Run") -> None:
    print(run)
    print(f"\nReport: {run.folder / 'report.html'}")


def _fail_without_device(run: "erde_nas.Run") -> None:
    """A report without the numbers of a profile is not what was asked for."""
    if lost := run.unmeasured:
        reasons = "; ".join(f"profile {name} has no numbers: {reason}" for name, reason in lost.items())
        raise UserError(f"{reasons}. The search, run again, measures what is missing")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 internal error, 2 user error, 130 interrupted."""
    run_command_line(app)
