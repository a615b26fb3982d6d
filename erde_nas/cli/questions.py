"""What `erde-nas init` asks on a terminal, of what no option says. An empty answer takes what stands in brackets."""

from pathlib import Path

import typer


def ask(
    data: str, hours: float | None, size: int | None, teacher: Path | None
) -> tuple[float | None, int | None, Path | None]:
    """Hours, size and teacher, as given or answered."""
    if hours is None:
        hours = typer.prompt("How many hours may the search take here?", default=1.0, type=float, err=True)
    if size is None and Path(data).expanduser().is_dir():
        answer = typer.prompt("To how many pixels are the images scaled (0: by what they are)?", default=0, err=True)
        size = int(answer) or None
    if teacher is None:
        answer = typer.prompt("Your own classifier, a .pt2 file (empty: one is trained)", default="", err=True)
        teacher = Path(answer) if answer else None
    return hours, size, teacher
