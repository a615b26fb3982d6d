"""The command line: each command parses, calls the public API, and prints what came of it.

The API loads its libraries when a function of it is called, so that `erde-nas --help` stays quick.
"""

import json
import os
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

import erde_nas
from erde_nas.cli import option_values, options, questions
from erde_nas.cli.datasets import data
from erde_nas.cli.exit_codes import continuable, run_command_line
from erde_nas.cli.progress import shown
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
def init(  # noqa: PLR0913 (typer makes an option of each parameter)
    data: options.InitData,
    to: options.NewRecipe,
    hours: options.InitHours = None,
    size: options.ScaledTo = None,
    profile: options.Profile = None,
    teacher: options.OwnTeacher = None,
    target: options.Targets = None,
    data_dir: options.DataDir = None,
) -> None:
    """Look at your images, time this machine, and write a recipe whose search takes the time you have."""
    if sys.stdin.isatty():
        hours, size, teacher = questions.ask(data, hours, size, teacher)
    print(
        erde_nas.init(
            data,
            to,
            hours=1.0 if hours is None else hours,
            size=size,
            profiles=profile or ("cpu-1thread", "cpu-1thread-int8"),
            teacher=teacher,
            target=target,
            data_dir=data_dir,
        )
    )


@app.command()
def search(  # noqa: PLR0913 (typer makes an option of each parameter)
    recipe: options.SearchRecipe,
    out: options.NewRun,
    profile: options.Profile = None,
    trials: options.Trials = None,
    hours: options.Hours = None,
    seed: options.Seed = None,
    epochs_scale: options.EpochsScale = None,
    device: options.Device = "auto",
    data_dir: options.DataDir = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    storage: options.Storage = None,
    deterministic: options.Deterministic = False,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = None,
) -> None:
    """Search, distil, compress, export, measure and report; run it again to continue."""
    wishes: dict[str, Any] = {
        "profiles": profile, "trials": trials, "hours": hours, "epochs_scale": epochs_scale,
        "device": device, "data_dir": data_dir, "workers": workers,
    }  # fmt: skip
    with continuable():
        if dry_run:
            if cluster or storage or quiet:
                said = "--dry-run plans for this machine alone and says it"
                raise UserError(f"{said}; leave --cluster, --storage and --quiet away")
            return erde_nas.plan(recipe, **wishes, progress=shown(quiet, json_log))
        try:
            run = erde_nas.search(
                recipe,
                out,
                **wishes,
                seed=seed,
                cluster=cluster,
                storage=storage,
                deterministic=deterministic,
                progress=shown(quiet, json_log),
            )
        except SearchInterrupted as stop:
            _print_run(erde_nas.load_run(stop.folder))
            raise
        _print_run(run)
        _fail_without_device(run)


@app.command()
def report(out: options.Out, as_json: options.AsJson = False) -> None:
    """Show a run's front as a table and write its report files again; of a run at work, what it has found so far."""
    run = erde_nas.load_run(out, so_far=True)
    run.report()
    if as_json:
        print(json.dumps(run.to_dict(), indent=1))
    else:
        _print_run(run)


@app.command()
def watch(
    out: options.Out,
    port: options.Port = 0,
    host: options.Host = "127.0.0.1",
    no_browser: options.NoBrowser = False,
) -> None:
    """Serve a run's report while the run is at work: the page is loaded again when there is news. Ctrl+C ends it."""
    from erde_nas.api.watch import serve

    with suppress(KeyboardInterrupt), serve(out, host=host, port=port) as server:
        print(f"{out} is shown at {server.url} until Ctrl+C", flush=True)
        if not no_browser and (sys.platform != "linux" or os.environ.get("DISPLAY", os.environ.get("WAYLAND_DISPLAY"))):
            webbrowser.open(server.url)
        server.serve_forever()


@app.command()
def compare(runs: options.Runs, picture: options.Picture = Path("compare.png")) -> None:
    """Compare the fronts of runs: a table, a picture, and which keys of their recipes and profiles differ."""
    found = erde_nas.compare(runs)
    path = found.save_picture(picture)
    print(f"{found}\n\nPicture: {path}")


@app.command()
def compress(
    out: options.Out,
    student: options.Candidates = None,
    target: options.Targets = None,
    profile: options.RunProfile = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    json_log: options.JsonLog = None,
) -> None:
    """Prune, quantize and measure again: the given students, or the run's shortlist.

    With --target, prune until a student reaches the goal, and say which one does, or which one comes nearest.
    """
    with continuable():
        show = shown(quiet, json_log)
        run = erde_nas.compress(out, student, target=target, profile=profile, device=device, progress=show)
        _print_run(run)
        if run.target is not None:
            print(f"\n{run.target.text}")
        _fail_without_device(run)


@app.command()
def export(
    out: options.Out,
    student: options.StudentId,
    to: options.BundleFolder,
    form: options.Formats = None,
) -> None:
    """Write the folder to ship: models, their segments, student.json, a model card, and a runner of one file."""
    for path in erde_nas.export(out, student, to, formats=form or ()):
        print(path)


@app.command()
def exits(  # noqa: PLR0913 (typer makes an option of each parameter)
    model: options.OwnModel,
    data: options.OwnData = None,
    out: options.NewExits = None,
    profile: options.OwnProfile = None,
    max_drop: options.MaxDrop = 0.0,
    minutes: options.Minutes = 4.0,
    mean: options.Mean = None,
    std: options.Std = None,
    normalisation: options.NormalisationName = None,
    classes: options.ClassNames = None,
    image_size: options.ImageSize = None,
    flip: options.Flip = False,
    data_dir: options.DataDir = None,
    listed: options.ListCuts = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = None,
) -> None:
    """Attach early exits to a trained network of your own, which stays as it is, and write the folder to ship.

    With --list, only show where it can be cut.
    """
    if listed:
        print(erde_nas.own(model))
        return
    if data is None or out is None:
        raise UserError(f"--{'data' if data is None else 'out'} is missing: exits learn from images, into a new folder")
    run = erde_nas.exits(
        model,
        data,
        out,
        profiles=profile or "cpu-1thread",
        max_drop=max_drop,
        minutes=minutes,
        mean=option_values.numbers("--mean", mean),
        std=option_values.numbers("--std", std),
        normalisation=normalisation,
        classes=None if classes is None else classes.split(","),
        image_size=image_size,
        flip=flip,
        data_dir=data_dir,
        progress=shown(quiet, json_log),
    )
    _print_run(run)
    if run.target is not None:
        print(f"\n{run.target.text}")


@app.command("profile")
def profile_model(  # noqa: PLR0913 (typer makes an option of each parameter)
    model: options.AnyModel,
    profile: options.NeededProfile,
    images: options.StreamImages = None,
    compare: options.OtherModel = None,
    size: options.Size = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = None,
) -> None:
    """Measure an ONNX file under hardware profiles: every exit, and the stream of the given images."""
    found = erde_nas.measure(model, profile, images, compare=compare, size=size, progress=shown(quiet, json_log))
    print(json.dumps([row.to_dict() for row in found], indent=1) if as_json else found.table())
    if found.errors:
        raise UserError("\n".join(found.errors))


@app.command()
def predict(
    model: options.StudentFile,
    images: options.Images,
    resize: options.Resize = False,
    as_json: options.AsJson = False,
) -> None:
    """Classify image files with an exported student, and say at which exit each one left."""
    answers = erde_nas.predict(model, images, resize=resize, say=lambda text: print(f"note: {text}", file=sys.stderr))
    print(json.dumps([answer.to_dict() for answer in answers], indent=1) if as_json else answers)


@app.command()
def verify(
    bundle: options.Bundle,
    data_dir: options.BundleData = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = None,
) -> None:
    """Check an exported folder: its files, its accuracy, and its latency on this machine beside the one it brings."""
    found = erde_nas.verify(bundle, data=data_dir, progress=shown(quiet, json_log))
    print(json.dumps(found.to_dict(), indent=1) if as_json else found)
    if not found.ok:
        raise UserError(f"{bundle} is not what its student.json says; export the student again, or use another copy")


@app.command()
def distil(  # noqa: PLR0913 (typer makes an option of each parameter)
    recipe: options.DistilRecipe,
    out: options.NewComparison,
    loss: options.Losses = None,
    seeds: options.Seeds = 3,
    student: options.RunStudent = None,
    epochs_scale: options.EpochsScale = None,
    device: options.Device = "auto",
    data_dir: options.DataDir = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = None,
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
            progress=shown(quiet, json_log),
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
