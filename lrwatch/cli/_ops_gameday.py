"""``lrwatch ops gameday``: things go wrong on purpose, and who hears of it when."""

from __future__ import annotations

from pathlib import Path

import click

from lrwatch.cli import base
from lrwatch.errors import LrwatchError, MissingExtra, did_you_mean


@click.command(short_help="Let real trainers go wrong, and see who hears of it when.")
@click.argument("names", nargs=-1, metavar="[SCENARIO]...|all")
@click.option("--list", "listing", is_flag=True, help="Only say which scenarios there are.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("lrwatch-gameday"), show_default=True,
              help="Where runs, contracts and the stack's data go.")
@click.option("--jobs", type=click.IntRange(min=1), default=4, show_default=True, help="Scenarios at the same time.")
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write the scoreboard here, too.")
@click.option("--force", is_flag=True, help="Overwrite the directory and the page of an earlier game.")
def gameday(names: tuple[str, ...], listing: bool, folder: Path, jobs: int, page: Path | None, force: bool) -> int:
    """Let real trainers go wrong on purpose, and see who hears of it when.

    One local Prometheus and Alertmanager watch all scenarios at once; each has a run of its own on the CPU. Waits of
    the rules are shortened for the game, and the scoreboard says so. Exit 1 if an alert was not heard, by the wrong
    one, did not resolve, or was false.

    \b
    Examples:
      lrwatch ops gameday --list
      lrwatch ops gameday nan killed-worker
      lrwatch ops gameday all --html scoreboard.html
    """
    import importlib.util
    import shutil

    from lrwatch.gameday.scenarios import SCENARIOS

    if listing:
        for s in SCENARIOS.values():
            click.echo(f"{s.name:<26} {s.seed:<3} {s.story}")
        return base.OK
    if not names:
        raise LrwatchError("name scenarios, or all; `lrwatch ops gameday --list` lists them")
    for name in names:
        if name != "all" and name not in SCENARIOS:
            raise LrwatchError(f"no scenario {name!r}{did_you_mean(name, SCENARIOS)}")
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("lrwatch ops gameday", "torch")
    base.refuse_to_overwrite(str(folder), force)
    base.refuse_to_overwrite(str(page) if page else None, force)
    if page is not None and not page.parent.is_dir():  # not after minutes of play
        raise LrwatchError(f"{page}: there is no directory {page.parent}")
    if folder.exists():
        if not (folder / "contracts").is_dir():
            raise LrwatchError(f"{folder}: is no directory of an earlier game; --force does not remove it")
        shutil.rmtree(folder)
    from lrwatch.gameday import board
    from lrwatch.gameday.play import play

    chosen = list(SCENARIOS.values()) if "all" in names else [SCENARIOS[name] for name in dict.fromkeys(names)]
    click.echo(f"{len(chosen)} scenarios, {min(jobs, len(chosen))} at a time", err=True)
    outcomes = play(
        chosen, folder.resolve(), jobs=jobs,
        say=lambda o: click.echo(f"{o.scenario.name}: {'as expected' if o.passed else 'NOT as expected'}", err=True),
    )  # fmt: skip
    click.echo(board.text(outcomes), nl=False)
    if page is not None:
        base.write(board.page(outcomes), str(page), force)
    return base.OK if all(o.passed for o in outcomes) else base.FINDINGS
