"""What the commands take: each argument and option, with its help and its check."""

from pathlib import Path
from typing import Annotated, Any

import typer

from erde_nas.cli import completion, option_values
from erde_nas.cli.option_values import above_zero, image_size, whole

MOST_SEED = 2**32 - 1  # what every generator takes

Out = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="The folders of runs.", show_default=False)]
Picture = Annotated[Path, typer.Option("--picture", metavar="FILE", help="Where the picture of all fronts goes.")]
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
Quiet = Annotated[bool, typer.Option("--quiet", help="Show only the final answer, and errors.")]
JsonLog = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Append what happens to a file for programs, one JSON object per line; see docs/guide.md.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# search
SearchRecipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        autocompletion=completion.recipes,
        help="Name or file of a recipe; see `erde-nas recipes list`.",
    ),
]
NewRun = Annotated[
    Path, typer.Option(metavar="DIR", help="The run's folder; the same command continues what it holds.")
]
Trials = Annotated[
    int | None,
    typer.Option(
        parser=whole("--trials", 1, 1_000_000), metavar="N", help="Candidates, instead of the recipe's number."
    ),
]
Hours = Annotated[
    float | None,
    typer.Option(
        parser=above_zero("--hours", 100_000, "hours"),
        metavar="H",
        help="Hours for the whole run. Without --trials: as many candidates as fit, finishing included.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(parser=whole("--seed", 0, MOST_SEED), metavar="N", help="Seed, instead of the recipe's."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        parser=whole("--workers", 1, 10_000),
        metavar="N",
        help="Candidates at once: processes on this machine, with its GPUs in turn and its cores in equal shares; "
        "with --cluster actors there, otherwise one per GPU or CPU.",
        show_default="1",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Ray cluster that evaluates candidates: auto, ray://host:10001.", show_default=False
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Database with the study, shared by several searches: postgresql://user@host/database.",
        show_default=False,
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="Fix precision, layout and threads of training, which are otherwise timed: on a CPU, an architecture then "
        "comes out with the same weights, bit for bit, in every run.",
    ),
]

# watch
Port = Annotated[
    int, typer.Option(parser=whole("--port", 0, 65_535), metavar="N", help="Where it listens; 0 is any that is free.")
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Another address of this machine, for browsers elsewhere: they need the token in the URL that is printed.",
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Open no browser.")]

# compress
Candidates = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", autocompletion=completion.students, help="A candidate of the run; repeatable."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="A goal for one student: latency_ms (mean), speedup (over the fp32 teacher), size_kb or accuracy_drop "
        "(below the teacher, on validation; 0.01 is one point); repeatable, all of them count.",
    ),
]
RunProfile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completion.run_profiles,
        help="The run's profile that --target is about, where it has several.",
    ),
]

# export
StudentId = Annotated[str, typer.Option(metavar="ID", autocompletion=completion.students, help="A student of the run.")]
BundleFolder = Annotated[Path, typer.Option(metavar="FOLDER", help="A new or empty folder.")]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="NAME", help="onnx, openvino or executorch; repeatable. Otherwise all installed."),
]

# exits
OwnModel = Annotated[
    Path, typer.Argument(metavar="MODEL.pt2", help="A classifier that torch.export.save wrote.", show_default=False)
]
ListCuts = Annotated[
    bool, typer.Option("--list", help="Only print where it can be cut: a drawing, and a table by stage.")
]
OwnData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FOLDER|FILE",
        help="Images like those that it was trained on: a folder, an .npz file, or the name of a data set.",
        show_default=False,
    ),
]
NewExits = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A new folder for the report and, in shipped, the bundle.", show_default=False),
]
OwnProfile = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        autocompletion=completion.profiles,
        help="Hardware profile; repeatable, the first one decides.",
        show_default="cpu-1thread",
    ),
]
MaxDrop = Annotated[
    float,
    typer.Option(
        parser=option_values.share("--max-drop"),
        metavar="SHARE",
        help="Accuracy on validation below the network's own, at most; 0.01 is one point.",
    ),
]
Minutes = Annotated[
    float,
    typer.Option(
        parser=above_zero("--minutes", 10_000, "minutes"), metavar="M", help="About how long exits are trained."
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="X[,X...]",
        help="With --std how its input was normalised: per channel, of pixels scaled to [0, 1]. Otherwise by the "
        "training images.",
        show_default=False,
    ),
]
Std = Annotated[str | None, typer.Option(metavar="X[,X...]", help="See --mean.", show_default=False)]
NormalisationName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A usual one instead: imagenet, cifar10, mnist, half, unit or pixels."),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="The names of its outputs in their order, where that is not the data set's.",
        show_default=False,
    ),
]
ImageSize = Annotated[
    Any,
    typer.Option(
        parser=image_size,
        metavar="PIXELS|WxH",
        help="Side, or width and height, that a folder's images are scaled to.",
        show_default=False,
    ),
]
Flip = Annotated[bool, typer.Option("--flip", help="Exits learn from mirrored images, too.")]

# profile
AnyModel = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An exported student, or any ONNX classifier.")]
NeededProfile = Annotated[
    list[str],
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        autocompletion=completion.profiles,
        help="Hardware profile; repeatable.",
    ),
]
StreamImages = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Images to time the stream over.")]
OtherModel = Annotated[
    Path | None, typer.Option(metavar="OTHER.onnx", help="A second file, and its ratio to the first.")
]
Size = Annotated[
    int | None,
    typer.Option(
        parser=whole("--size", 1, 65_536),
        metavar="PIXELS",
        help="Height and width of the images, where a file leaves them open.",
        show_default=False,
    ),
]

# predict
StudentFile = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An exported student.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")]
Resize = Annotated[bool, typer.Option("--resize", help="Scale images of another size (bilinear).")]

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be done in a new folder, and how long it should take; nothing is trained."
    ),
]

# init
InitData = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=completion.datasets,
        help="A folder with a sub-folder of images per class, an npz file, or the name of a data set.",
    ),
]
NewRecipe = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="The recipe, a new file.")]
InitHours = Annotated[
    float | None,
    typer.Option("--hours", metavar="H", help="Hours for the whole search. [default: 1]", show_default=False),
]
ScaledTo = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        help="Scale the images of a folder to it; otherwise their own, at most 96.",
        show_default=False,
    ),
]
OwnTeacher = Annotated[
    Path | None,
    typer.Option(metavar="MODEL.pt2", help="A classifier of your own; one is trained otherwise.", show_default=False),
]

# verify
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `erde-nas export` wrote.")]
BundleData = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder with the data set's official files; of your own images, their folder or npz file.",
        show_default=False,
    ),
]

# distil
DistilRecipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        autocompletion=completion.recipes,
        help="Name or file of a recipe, or the folder of a run.",
    ),
]
NewComparison = Annotated[
    Path, typer.Option(metavar="DIR", help="The comparison's folder; the same command continues it.")
]
Losses = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:KEY=VALUE,...]",
        autocompletion=completion.losses,
        help="A loss, with keys of the recipe's distil section; repeatable, the first is the reference. "
        "Without it: kd+entropy, erde, kd and ce, or the recipe's own with its preset.",
    ),
]
Seeds = Annotated[
    int,
    typer.Option(parser=whole("--seeds", 1, 1000), metavar="N", help="Trainings per loss, from different seeds."),
]
RunStudent = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        autocompletion=completion.students,
        help="A candidate of the run, instead of the recipe's student.",
    ),
]
