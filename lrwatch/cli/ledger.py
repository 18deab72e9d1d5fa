"""``lrwatch ledger``: what the runs of a directory achieved and cost."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrwatch.cli import base

if TYPE_CHECKING:
    from lrwatch.ledger.kpis import Kpis

_HEAD = (
    "experiment", "runs", "converged", "GPU-hours", "per converged", "lost", "anomalous", "spread", "over budget",
    "cost",
)  # fmt: skip


@click.command(short_help="What finished runs achieved and cost; serves it to Prometheus.")
@click.argument("runs_dir", metavar="RUNS_DIR", type=click.Path(path_type=Path))
@click.option("--serve", is_flag=True, help="Keep reading, and serve the counters to Prometheus until interrupted.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9477, show_default=True,
              help="Port to listen on, 0 for any free one.")
@click.option("--every", type=click.FloatRange(min=0.1), default=15.0, show_default=True, metavar="SECONDS",
              help="How often --serve reads the runs.")
@click.option("--settle", type=click.FloatRange(min=0), default=300.0, show_default=True, metavar="SECONDS",
              help="How long --serve waits for another attempt before a run that did not finish counts as ended.")
@click.option("--state", type=click.Path(path_type=Path), metavar="FILE",
              help="Where --serve remembers what it counted.  [RUNS_DIR/.lrwatch-ledger.json]")
@base.output_options("text", "json")
def ledger(
    runs_dir: Path,
    serve: bool,
    host: str,
    port: int,
    every: float,
    settle: float,
    state: Path | None,
    form: str,
    output: str | None,
    force: bool,
) -> int:
    """What the runs below RUNS_DIR achieved and cost, by experiment.

    Reads the summary.json that every watched run leaves, in RUNS_DIR/RUN and RUNS_DIR/SWEEP/RUN. Files that are torn or
    not lrwatch's are named on standard error and left out.

    \b
    Examples:
      lrwatch ledger runs
      lrwatch ledger runs --format json --output kpis.json
      lrwatch ledger runs --serve --port 9477
    """
    if serve:
        return _serve(runs_dir, host, port, every, settle, state)
    base.refuse_to_overwrite(output, force)
    from lrwatch.ledger.kpis import fold, total
    from lrwatch.ledger.scan import Scanner

    scan = Scanner(runs_dir).scan()
    for problem in scan.problems:
        click.echo(f"lrwatch: {problem}; it is not counted", err=True)
    experiments, everything = fold(scan.runs), total(scan.runs)
    if form == "json":
        content = {
            "experiments": [_data(k) for k in experiments],
            "total": _data(everything),
            "problems": list(scan.problems),
        }
        text = json.dumps(content, indent=2) + "\n"
    elif experiments:
        rows = [_row(k) for k in experiments] + ([_row(everything)] if len(experiments) > 1 else [])
        text = _table([_HEAD, *rows])
    else:
        text = f"no run below {runs_dir} has ended yet\n"
    base.write(text, output, force)
    return base.OK


def _serve(runs_dir: Path, host: str, port: int, every: float, settle: float, state: Path | None) -> int:
    from lrwatch.agent.ledger_exporter import Ledger
    from lrwatch.ledger.scan import STATE

    kept = Ledger(runs_dir, state or runs_dir / STATE, settle)
    server, port = kept.serve(host, port)
    click.echo(f"lrwatch: ledger of {runs_dir} at http://{host}:{port}/metrics", err=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(base.OK))
    try:
        while True:
            time.sleep(every)
            kept.turn()
    finally:
        server.shutdown()
        server.server_close()


def _data(k: Kpis) -> dict[str, Any]:
    """Hours and rates; what cannot be said is null."""
    return {
        "experiment": k.experiment,
        "runs": k.runs,
        "outcomes": dict(k.outcomes),
        "convergence_rate": k.convergence_rate,
        "gpu_hours": k.gpu_seconds / 3600.0,
        "gpu_hours_per_converged": k.gpu_hours_per_converged,
        "gpu_hours_lost": k.lost_gpu_seconds / 3600.0,
        "anomalous": k.anomalous,
        "anomalous_rate": k.anomalous_rate,
        "metric": k.metric,
        "final_metric_stddev": k.spread,
        "over_budget_streak": k.over_budget_streak,
        "cost": dict(k.cost),
    }


def _row(k: Kpis) -> tuple[str, ...]:
    converged = k.outcomes.get("converged", 0)
    return (
        "all" if k.experiment is None else k.experiment,
        str(k.runs),
        "-" if k.convergence_rate is None else f"{k.convergence_rate:.0%} ({converged} of {k.judged})",
        _hours(k.gpu_seconds / 3600.0),
        "-" if k.gpu_hours_per_converged is None else _hours(k.gpu_hours_per_converged),
        _hours(k.lost_gpu_seconds / 3600.0),
        "-" if k.anomalous_rate is None else f"{k.anomalous_rate:.0%} ({k.anomalous})",
        "-" if k.spread is None else f"{k.spread:.3g} {k.metric}",
        "-" if k.over_budget_streak is None else f"{k.over_budget_streak} in a row",
        ", ".join(f"{amount:.2f} {currency}" for currency, amount in k.cost.items()) or "-",
    )


def _hours(value: float) -> str:
    return f"{value:.1f}" if value >= 10 or value == 0 else f"{value:.3g}"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as they must be; the name to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) + "\n"
        for row in rows
    )


COMMAND = ledger
