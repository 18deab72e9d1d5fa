"""``lrwatch ship``: a run's trace into Prometheus, every step with its own time."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from lrwatch.agent.announce import say
from lrwatch.cli import base


@click.command(short_help="Send every recorded step to a Prometheus.")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="RUN_DIR")
@click.option("--to", "url", required=True, metavar="URL",
              help="The receiver of remote write; without a path, /api/v1/write.")
@click.option("--once", is_flag=True, help="Send what is there, and end.")
@click.option("--until-idle", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="End when nothing was recorded for so long.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE",
              help="A further label of all series, e.g. cluster=a; repeatable.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
              help="Bearer token; default: LRWATCH_SHIP_TOKEN.")
@click.option("--user", metavar="NAME", help="Basic authentication, with the token as password.")
@click.pass_context
def ship(
    ctx: click.Context,
    run_dir: Path,
    url: str,
    once: bool,
    until_idle: float | None,
    labels: tuple[str, ...],
    token_file: Path | None,
    user: str | None,
) -> int:
    """Send every recorded step to a Prometheus, by remote write, with the step's own time.

    A process of its own, beside the training or after it, that reads the trace in RUN_DIR: the series are called
    lrwatch_trace_learning_rate, lrwatch_trace_loss and so on, so that they meet no scraped ones. Goes on until the run
    has ended. It remembers how far it came, and goes on there when it is started again.

    Exit codes: 0 everything was sent, 1 rows were left out (said on standard error), 2 nothing can be sent there.

    \b
    Examples:
      lrwatch ship runs/1 --to http://prometheus:9090
      lrwatch ship runs/1 --to https://mimir/api/v1/push --token-file token --label cluster=a
    """
    from lrwatch.ship.arguments import checked_labels, token
    from lrwatch.ship.remote import Receiver
    from lrwatch.ship.shipper import Shipper

    given = checked_labels(dict(_pair(ctx, text) for text in labels))
    secret = token(token_file)
    if user is not None and secret is None:
        raise click.UsageError("--user needs a password: --token-file, or LRWATCH_SHIP_TOKEN", ctx)
    if not run_dir.is_dir():
        raise click.UsageError(f"{run_dir}: no such directory", ctx)
    shipper = Shipper(run_dir, Receiver(url, secret, user), given, threading.Event())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: shipper.stop.set())
    done = shipper.ship(once, until_idle)
    say(done.sentence())
    return base.OK if done.complete else base.FINDINGS


def _pair(ctx: click.Context, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--label {text}: must be NAME=VALUE, e.g. --label cluster=a", ctx)
    return name, value


COMMAND = ship
