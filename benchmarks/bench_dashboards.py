"""What the dashboards cost Prometheus for one run of many workers, beside the plainest question of the same run.

    python benchmarks/bench_dashboards.py [--workers 10000] [--hours 3] [--every 240]

Series of one run, some workers of which have drifted, are written into a fresh Prometheus of .tools as blocks; then
every target of on-call and debug is asked as Grafana would at the end of the time range: once for instant ones, at 360
points for curves. Seconds are the better of two; the ratio is to `count(lrwatch_rank_up)` over the same range. (Scrapes
4 minutes apart keep the writing short; the time goes into points times workers.)
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

from lrwatch.errors import LrwatchError
from lrwatch.ops import api, programs
from tests.dashboards.asked import fill, targets

POINTS = 360
WHO = 'run_id="big",rank="{rank}",instance="node{node}:9478",job="lrwatch"'
BROKEN = 10
"""Workers with a finding."""


def series(workers: int) -> Iterator[tuple[str, str, str, float, float]]:
    """(metric, its type, labels, value at the start, growth per second): what these panels ask of every worker."""
    for metric, kind, start, growth in (
        ("lrwatch_rank_up", "gauge", 1.0, 0.0), ("lrwatch_attempt", "gauge", 1.0, 0.0),
        ("lrwatch_drift_ratio", "gauge", 0.0, 1e-6), ("lrwatch_step", "gauge", 0.0, 2.0),
        ("lrwatch_last_step_timestamp_seconds", "gauge", -1.0, 1.0), ("lrwatch_world_size", "gauge", workers, 0.0),
        ("lrwatch_gpu_seconds_total", "counter", 0.0, 1.0), ("lrwatch_gpu_memory_reserved_bytes", "gauge", 7e10, 0.0),
        ("lrwatch_learning_rate", "gauge", 1e-3, -1e-8), ("lrwatch_learning_rate_expected", "gauge", 1e-3, -1e-8),
        ("lrwatch_contract_info", "gauge", 1.0, 0.0),
    ):  # fmt: skip
        more = {"lrwatch_contract_info": ',sha256="aa"'}.get(metric, ',group="0"' if "rate" in metric[-13:] else "")
        for rank in range(workers):
            yield metric, kind, WHO.format(rank=rank, node=rank // 8) + more, start, growth
    for metric, start in (("lrwatch_finding_active", 1.0), ("lrwatch_finding_first_step", 120.0)):
        for rank in range(BROKEN):
            severity = ',severity="error"' if "active" in metric else ""
            labels = WHO.format(rank=rank, node=rank // 8) + ',code="LR101"' + severity
            yield metric, "gauge", labels, start, 0.0
    yield "lrwatch_run_state", "gauge", WHO.format(rank=0, node=0) + ',state="running"', 1.0, 0.0


def write(path: Path, workers: int, begin: int, end: int, every: int) -> int:
    """OpenMetrics for ``promtool tsdb create-blocks-from``; number of samples."""
    samples, last = 0, ""
    with path.open("w") as out:
        for metric, kind, labels, start, growth in series(workers):
            name = metric.removesuffix("_total")
            if name != last:
                out.write(f"# TYPE {name} {kind}\n")
                last = name
            base = float(begin) if start == -1.0 else start
            for t in range(begin, end, every):
                out.write(f"{metric}{{{labels}}} {base + growth * (t - begin):.9g} {t}\n")
                samples += 1
        out.write("# EOF\n")
    return samples


def timed(url: str, expr: str, begin: int, end: int, instant: bool) -> float:
    """Seconds of an answer, the better of two."""
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        if instant:
            api.get(f"{url}/api/v1/query", query=expr, time=str(end))
        else:
            step = str(max(1, (end - begin) // POINTS))
            api.get(f"{url}/api/v1/query_range", query=expr, start=str(begin), end=str(end), step=step)
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--every", type=int, default=240, help="seconds between scrapes")
    asked = parser.parse_args()
    end = int(time.time()) - int(time.time()) % 7200
    begin = end - int(3600 * asked.hours)
    with tempfile.TemporaryDirectory() as folder:
        samples = write(Path(folder) / "big.om", asked.workers, begin, end, asked.every)
        promtool, prometheus = programs.need("promtool"), programs.need("prometheus")
        made = programs.run(promtool, "tsdb", "create-blocks-from", "openmetrics", f"{folder}/big.om", f"{folder}/data")
        if made.returncode:
            raise SystemExit(made.stderr)
        (Path(folder) / "big.om").unlink()
        (Path(folder) / "p.yml").write_text("")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            [prometheus, f"--config.file={folder}/p.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y"], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            report(url, begin, end, asked.workers, samples)
        finally:
            server.terminate()
            server.wait()


def report(url: str, begin: int, end: int, workers: int, samples: int) -> None:
    """Ask everything, print the slowest first."""
    for _ in range(300):
        try:
            api.query(url, "up")
            break
        except (LrwatchError, urllib.error.URLError):
            time.sleep(0.1)
    macros = {"__range": f"{end - begin}s", "__rate_interval": "4m"}
    chosen = {"run": "big", "rank": "0", "group": ".*", "experiment": ".*", "compare": "big", **macros}
    plain = timed(url, 'count(lrwatch_rank_up{run_id="big"})', begin, end, False)
    print(f"{workers:,} workers, {samples:,} samples in {end - begin} s; count(lrwatch_rank_up) over it: {plain:.2f} s")
    found = []
    for board, title, _, target in targets():
        if board != "executive":
            name, instant = f"{title} {target['refId']}", bool(target.get("instant"))
            try:
                found.append((timed(url, fill(target["expr"], **chosen), begin, end, instant), board, name))
            except LrwatchError as error:
                found.append((float("inf"), board, f"{name}: {error}"[:200]))
    for seconds, board, title in sorted(found, reverse=True)[:14]:
        print(f"{seconds:8.2f} s  {seconds / plain:6.1f} x  {board}: {title}")
    rest = [seconds for seconds, _, _ in sorted(found, reverse=True)[14:]]
    print(f"{len(rest)} more, at most {max(rest, default=0):.2f} s")


if __name__ == "__main__":
    main()
