"""Two real trainings of the same small GPT: one that keeps its promise, one with a classic bug, and what lrwatch says.

    python examples/demo.py [DIRECTORY]        # runs go to DIRECTORY, by default runs/demo-<time>

Needs lrwatch with its torch extra; no GPU. Where Prometheus and Alertmanager are found (``make tools``, or on PATH)
they watch both runs, and the demo ends with the page that the on-call would get. Exits 0 when the first run passes and
disturbs nobody, and the bug of the second is named for what it is, and paged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lrwatch.agent import node
from lrwatch.errors import LrwatchError
from lrwatch.ops import programs
from lrwatch.ops.stack import Settings, Stack

HERE = Path(__file__).resolve().parent
CONTRACT = HERE / "contract.yaml"
WORKERS = 4
PATIENCE = 150.0
"""Seconds to wait for the page; it takes about five."""


def main() -> int:
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    with ExitStack() as ending:
        return play(where, ending, started(where, ending))


def play(where: Path, ending: ExitStack, stack: Stack | None) -> int:
    """The two acts, and a third one where there is a stack; returns the exit code."""
    began = time.monotonic()
    say(f"The promise, {relative(CONTRACT)}:", "")
    print(CONTRACT.read_text(), flush=True)

    say("Act 1. Four workers, three micro-batches per update, and a scheduler that is stepped once per update.")
    healthy = where / "healthy"
    train(healthy, ending, stack)
    kept = run("verify", CONTRACT, healthy) == 0

    say("Act 2. The same run, with scheduler.step() called once per worker: four times per update.")
    broken = where / "broken"
    train(broken, ending, stack, "--inject", "step_per_worker")
    report = where / "broken.json"
    caught = run("verify", CONTRACT, broken) == 1
    run("verify", CONTRACT, broken, "--format", "json", "--output", report, "--force")

    woken = True
    if stack is not None:
        say("Act 3. What Alertmanager delivered meanwhile, and to whom:", "")
        woken = paged(stack, broken, healthy)

    cause, first_step = named(report)
    found = caught and cause.get("name") == "rate" and cause.get("params", {}).get("k") == WORKERS
    say(
        f"Healthy run: {'passed' if kept else 'DID NOT PASS'}.",
        f"Broken run: {'caught' if found else 'NOT CAUGHT'}; {cause.get('sentence', 'no cause')}, "
        f"first at step {first_step}.",
        *([] if stack is None else [f"Alerts: {'as they should be' if woken else 'NOT AS THEY SHOULD BE'}."]),
        f"Traces, summaries and checkpoints: {where}/healthy, {where}/broken; the verdict as JSON: {report}",
        f"Took {time.monotonic() - began:.0f} s.",
    )
    return 0 if kept and found and woken else 1


def started(where: Path, ending: ExitStack) -> Stack | None:
    """Prometheus and Alertmanager over both runs, where they are installed; they end with the demo, however it ends."""
    if any(programs.find(name) is None for name in ("prometheus", "alertmanager")):
        say("Prometheus and Alertmanager are not here (`make tools` fetches them): the demo goes without.", "")
        return None
    stack = Stack(where / "stack")
    try:
        # Scrapes every second, and a shorter wait for explanations, so that a demo is told what else takes a minute.
        stack.up(Settings(runs=(where,), scrape=1.0, thresholds=("mismatch_for=1s",), owner=os.getpid()))
    except LrwatchError as error:
        say(f"The demo goes without Prometheus and Alertmanager: {error}", "")
        return None
    ending.callback(stack.down)
    say("Prometheus and Alertmanager are up and watch what follows.", "")
    return stack


def train(run_dir: Path, ending: ExitStack, stack: Stack | None, *more: object) -> None:
    """One training; with a stack, its metrics are served from here, so that they outlive it by some minutes."""
    if stack is not None:
        ending.enter_context(served(run_dir))
        os.environ["LRWATCH_PUBLISH"] = "1"
    run("train", "--contract", CONTRACT, "--workers", WORKERS, "--run-dir", run_dir, *more)


@contextmanager
def served(run_dir: Path) -> Iterator[None]:
    """What the sidecar `lrwatch ops node` does."""
    with node.server(node.Node(run_dir), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        node.write_target(run_dir, f"127.0.0.1:{server.server_port}")
        try:
            yield
        finally:
            server.shutdown()


def paged(stack: Stack, broken: Path, healthy: Path) -> bool:
    """Whether the broken run reached the on-call, and the healthy one nobody; shows what was delivered."""
    deadline = time.monotonic() + PATIENCE
    while not (pages := delivered(stack, broken)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for line, alert in pages[:1]:
        labels, notes = alert["labels"], alert["annotations"]
        print(f"  {line['receiver']}  {labels['alertname']} ({labels['severity']})")
        print(f"        {notes['description']}")
        print(f"        runbook: alerts/runbooks/{notes['runbook_url'].rpartition('/')[2]}\n", flush=True)
    run("ops", "stack", "status", "--dir", stack.folder)
    return bool(pages) and not delivered(stack, healthy)


def delivered(stack: Stack, run_dir: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(notification, alert) for every page and ticket about a run."""
    return [
        (line, alert)
        for line in stack.notifications()
        for alert in line["alerts"]
        if alert["labels"].get("run_id") == run_dir.name and line["receiver"] in ("page", "ticket")
    ]


def run(*arguments: object) -> int:
    """Run one lrwatch command as a user would, shown before it runs."""
    words = [relative(a) if isinstance(a, Path) else str(a) for a in arguments]
    print(f"$ lrwatch {' '.join(words)}", flush=True)
    code = subprocess.call([sys.executable, "-m", "lrwatch", *words])
    print(f"[exit code {code}]\n", flush=True)
    return code


def named(report: Path) -> tuple[dict[str, object], int | None]:
    """The cause of the drift and its first step, from a verify report in JSON."""
    if not report.exists():
        return {}, None
    for finding in json.loads(report.read_text())["findings"]:
        if finding["slug"] == "drift":
            return finding["cause"] or {}, finding["first_step"]
    return {}, None


def relative(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def say(*lines: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print("\n".join(f"{bold}{line}{plain}" for line in lines), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
