"""Two real trainings of the same small GPT: one that keeps its promise, one with a classic bug, and what lrwatch says.

    python examples/demo.py [DIRECTORY]        # runs go to DIRECTORY, by default runs/demo-<time>

Needs lrwatch with its torch extra; no server, no GPU. Exits 0 when the first run passes and the bug of the second is
named for what it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONTRACT = HERE / "contract.yaml"
WORKERS = 4


def main() -> int:
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    began = time.monotonic()
    say(f"The promise, {relative(CONTRACT)}:", "")
    print(CONTRACT.read_text(), flush=True)

    say("Act 1. Four workers, three micro-batches per update, and a scheduler that is stepped once per update.")
    healthy = where / "healthy"
    run("train", "--contract", CONTRACT, "--workers", WORKERS, "--run-dir", healthy)
    kept = run("verify", CONTRACT, healthy) == 0

    say("Act 2. The same run, with scheduler.step() called once per worker: four times per update.")
    broken = where / "broken"
    run("train", "--contract", CONTRACT, "--workers", WORKERS, "--run-dir", broken, "--inject", "step_per_worker")
    report = where / "broken.json"
    caught = run("verify", CONTRACT, broken) == 1
    run("verify", CONTRACT, broken, "--format", "json", "--output", report, "--force")

    cause, first_step = named(report)
    found = caught and cause.get("name") == "rate" and cause.get("params", {}).get("k") == WORKERS
    say(
        f"Healthy run: {'passed' if kept else 'DID NOT PASS'}.",
        f"Broken run: {'caught' if found else 'NOT CAUGHT'}; {cause.get('sentence', 'no cause')}, "
        f"first at step {first_step}.",
        f"Traces, summaries and checkpoints: {where}/healthy, {where}/broken; the verdict as JSON: {report}",
        f"Took {time.monotonic() - began:.0f} s.",
    )
    return 0 if kept and found else 1


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
    sys.exit(main())
