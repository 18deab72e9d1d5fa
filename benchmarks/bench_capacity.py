"""What watching many workers costs Prometheus, measured small and drawn out to a large fleet.

    python benchmarks/bench_capacity.py [--workers 256 512 1024] [--quick]

A real Prometheus (.tools/bin or PATH) with the shipped rules scrapes workers over loopback: the text is that of a
real watch, eight workers to a machine and 64 to a run, values that change as in a training. Three sizes give a slope
per worker for processor time, memory, samples and rules; a block of two hours gives bytes per sample. Beside it, in the
same run, as many workers scraped one by one: what the sidecar of a machine saves. The ledger reads as many runs as it
is told to.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import torch

import lrwatch
from lrwatch.agent.node import merge, parse
from lrwatch.agent.publish import MARK
from lrwatch.ledger.scan import Scanner
from lrwatch.ops import programs, render
from lrwatch.ops.rules import GROUPS
from lrwatch.ops.thresholds import resolve

PER_MACHINE, PER_RUN = 8, 64
EVALUATION = 15
PLAN = 10_000
"""Workers that the plan is for, scraped every 15 s as the manifests do."""
CONTRACT = {
    "lrwatch": 1, "experiment": "capacity", "clock": {"horizon": 100_000},
    "lr": {"base": 3e-4, "schedule": [
        {"linear": {"from": 0, "for": 2000}}, {"cosine": {"to": 3e-5, "until": "horizon"}}]},
    "goal": {"metric": "val_loss", "target": 1.9}, "cost": {"per_gpu_hour": 2.5}, "trace": {"step_deadline": 600},
}  # fmt: skip
MOVING = {
    "learning_rate": "lr", "learning_rate_expected": "lr", "step": "step", "steps_total": "step",
    "last_step_timestamp_seconds": "now", "gpu_seconds_total": "up", "loss": "loss", "grad_norm": "norm",
    "step_seconds_count": "step", "step_seconds_sum": "up", "sync_step": "step", "sync_learning_rate": "lr",
}  # fmt: skip
"""Samples that change from scrape to scrape, and how; the others stand still, as they do in a healthy run."""
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# -- workers ----------------------------------------------------------------------------------------------


def watched(folder: Path, rank: int, steps: int = 300) -> str:
    """What a scrape of a real watch on worker ``rank`` says, two parameter groups and all."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(PER_RUN))
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "name": n} for n in ("decay", "no_decay")]
    optimizer = torch.optim.SGD(groups, lr=0.0)
    with lrwatch.watch(optimizer, CONTRACT, run_dir=folder / f"rank{rank}", run_id="RUN") as watch:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 3e-4 * step / 2000
            optimizer.step()
            watch.step(loss=2.0 + 1.0 / (1 + step), grad_norm=1.0)
        watch.event("validation", metrics={"val_loss": 2.1})
        with opener.open(str(watch.url)) as answer:
            time.sleep(2.5)  # the worker judges what it has
        with opener.open(str(watch.url)) as answer:
            text: str = answer.read().decode()
    for name in ("RANK", "WORLD_SIZE"):
        del os.environ[name]
    return text


def template(texts: Sequence[str], run: str, ranks: Sequence[int]) -> str:
    """The exposition of a machine with tokens where values change."""
    head = json.dumps({"pid": 1, "pid_namespace": None, "boot": "b", "ts": time.time(), "ended": False})
    workers = []
    for rank in ranks:
        text = texts[0] if rank == 0 else re.sub(r'rank="\d+"', f'rank="{rank}"', texts[1])
        workers.append((parse(f"{MARK}{head}\n" + text.replace('run_id="RUN"', f'run_id="{run}"')), True))
    lines = []
    for line in merge(workers, time.time()).splitlines():
        name = line.partition("{")[0].removeprefix("lrwatch_")
        lines.append(f"{line.rpartition(' ')[0]} @{MOVING[name]}@" if name in MOVING else line)
    return "\n".join(lines) + "\n"


def values(t: float) -> dict[str, str]:
    """What the tokens stand for ``t`` seconds into the run: ten updates per second."""
    step = int(10 * t) + 300
    lr = 3e-4 * step / 2000 if step < 2000 else 3e-5 + 1.35e-4 * (1 + math.cos(math.pi * step / 1e5))
    noise = math.sin(step * 12.9898) * 43758.5453 % 1
    return {
        "lr": repr(lr), "step": repr(float(step)), "now": repr(time.time()), "up": repr(round(t, 3)),
        "loss": repr(2.0 + 3.0 / (1 + step / 500) + 0.05 * noise), "norm": repr(0.8 + 0.4 * noise),
    }  # fmt: skip


def filled(text: str, t: float) -> str:
    for token, value in values(t).items():
        text = text.replace(f"@{token}@", value)
    return text


class Fleet:
    """Machines behind one server, ``/m/0``, ``/m/1``, …: what is served can be exchanged while Prometheus looks."""

    def __init__(self, texts: Sequence[str]):
        self._texts, self._began = texts, time.monotonic()
        self.machines: list[str] = []
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                text = fleet.machines[int(self.path.rpartition("/")[2])]
                body = filled(text, time.monotonic() - fleet._began).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A Prometheus that hangs up is no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def grow(self, workers: int, discovery: Path, per_target: int = PER_MACHINE) -> None:
        """Serve so many workers, and tell Prometheus."""
        ranks = [(f"run-{w // PER_RUN:05d}", w % PER_RUN) for w in range(workers)]
        groups = [ranks[i : i + per_target] for i in range(0, workers, per_target)]
        self.machines = [template(self._texts, g[0][0], [rank for _, rank in g]) for g in groups]
        address = f"127.0.0.1:{self.server.server_port}"
        told = [
            {"targets": [address], "labels": {"__metrics_path__": f"/m/{i}", "instance": f"m{i}"}}
            for i in range(len(self.machines))
        ]
        part = discovery.with_suffix(".part")
        part.write_text(json.dumps(told))
        part.replace(discovery)


# -- Prometheus -------------------------------------------------------------------------------------------


@contextmanager
def prometheus(folder: Path, every: float) -> Iterator[str]:
    """A Prometheus with the shipped rules; its address."""
    for name, text in render.files(resolve()).items():
        (folder / "rules" / name).parent.mkdir(exist_ok=True)
        (folder / "rules" / name).write_text(text)
    (folder / "targets.json").write_text("[]")
    job = {"job_name": "lrwatch", "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "5s"}]}
    pace = {"scrape_interval": f"{every:g}s", "scrape_timeout": f"{every:g}s", "evaluation_interval": f"{EVALUATION}s"}
    config = {"global": pace, "rule_files": ["rules/*.yml"], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    log = (folder / "log").open("w+")
    words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        [programs.need("prometheus"), *words, "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=log
    )
    try:
        url = f"http://{_address(folder / 'log')}"
        _until_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _address(log: Path) -> str:
    for _ in range(200):
        if found := re.findall(r'msg="Listening on" address=(\S+)', log.read_text()):
            return str(found[0])
        time.sleep(0.1)
    raise SystemExit(f"Prometheus did not start:\n{log.read_text()}")


def _until_ready(url: str) -> None:
    for _ in range(200):
        try:
            opener.open(f"{url}/-/ready").close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("Prometheus does not get ready")


def own_metrics(url: str) -> dict[str, float]:
    """Its own metrics, summed over their labels."""
    with opener.open(f"{url}/metrics") as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name = line.partition("{")[0].partition(" ")[0]
            found[name] = found.get(name, 0.0) + float(line.rpartition(" ")[2])
    return found


def asked(url: str, query: str) -> float:
    with opener.open(f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": query})) as answer:
        result = json.load(answer)["data"]["result"]
    return float(result[0]["value"][1]) if result else math.nan


@dataclass(frozen=True)
class Measured:
    """One size. ``samples``: of one scrape of everything; ``cpu``: seconds per second, without rules; ``memory``:
    bytes; ``rules``: processor seconds to evaluate all of them once, their windows as full as at 15 s."""

    workers: int
    targets: int
    series: float
    samples: float
    cpu: float
    memory: float
    rules: float


def measure(url: str, fleet: Fleet, workers: int, seconds: float) -> Measured:
    """Wait until all are scraped, then look at Prometheus for a while."""
    targets = len(fleet.machines)
    until = time.monotonic() + 120
    while asked(url, 'count(up{job="lrwatch"} == 1)') != targets:
        if time.monotonic() > until:
            raise SystemExit(f"{targets} targets, up: {asked(url, 'count(up == 1)')}; is the machine too busy?")
        time.sleep(0.5)
    time.sleep(seconds / 4)
    before, t0 = own_metrics(url), time.monotonic()
    memories = []
    while time.monotonic() - t0 < seconds:
        time.sleep(1.0)
        memories.append(own_metrics(url)["process_resident_memory_bytes"])
    spent = own_metrics(url)["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    cpu = spent / (time.monotonic() - t0)
    rules = _rules(url, cpu)
    return Measured(
        workers, targets,
        asked(url, 'count({job="lrwatch",__name__=~"lrwatch_.*"})'),
        asked(url, 'sum(scrape_samples_scraped{job="lrwatch"})'),
        cpu - rules / EVALUATION,
        statistics.median(memories),
        rules,
    )  # fmt: skip


def _rules(url: str, cpu: float, rounds: int = 5) -> float:
    """Processor seconds of all rules once: asked by hand, beyond the ``cpu`` that goes on meanwhile."""
    expressions = [rule["expr"] for group in GROUPS for rule in render.group(group, resolve())["rules"]]
    before, t0 = own_metrics(url)["process_cpu_seconds_total"], time.monotonic()
    for _ in range(rounds):
        for expression in expressions:
            asked(url, expression)
    spent = own_metrics(url)["process_cpu_seconds_total"] - before - cpu * (time.monotonic() - t0)
    return max(spent, 0.0) / rounds


def bytes_per_sample(folder: Path, texts: Sequence[str]) -> float:
    """Of a block of two hours at 15 s, index and all; made by promtool of what 16 workers say."""
    lines: dict[str, list[str]] = {}
    start = time.time() // 7200 * 7200 - 7200
    machine = [template(texts, f"run-{i}", range(8)) for i in range(2)]
    for i in range(480):
        for line in (filled(text, 15.0 * i) for text in machine):
            for sample in line.splitlines():
                if not sample.startswith("#"):
                    name = sample.partition("{")[0]
                    lines.setdefault(name, []).append(f"{sample} {start + 15 * i:.3f}")
    with (folder / "om").open("w") as file:
        for name, samples in lines.items():
            file.write(f"# TYPE {name} unknown\n" + "\n".join(samples) + "\n")
        file.write("# EOF\n")
    blocks = folder / "blocks"
    words = ["tsdb", "create-blocks-from", "openmetrics", str(folder / "om"), str(blocks)]
    done = subprocess.run([programs.need("promtool"), *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    size = sum(p.stat().st_size for p in blocks.rglob("*") if p.is_file())
    made = sum(json.loads(p.read_text())["stats"]["numSamples"] for p in blocks.glob("*/meta.json"))
    shutil.rmtree(blocks)
    return float(size / made)


def slope(found: Sequence[Measured], of: str) -> tuple[float, float]:
    """Of a straight line through the sizes: per worker, and at none."""
    xs, ys = [m.workers for m in found], [getattr(m, of) for m in found]
    line = statistics.linear_regression(xs, ys)
    return line.slope, line.intercept


# -- the ledger -------------------------------------------------------------------------------------------


def ledger(folder: Path, source: Path, runs: int) -> tuple[float, float]:
    """Seconds to read so many finished runs the first time, and again."""
    text = source.read_text()
    for i in range(runs):
        (folder / f"run-{i:06d}").mkdir(parents=True)
        (folder / f"run-{i:06d}" / "summary.json").write_text(text)
    scanner, times = Scanner(folder), []
    for _ in range(2):
        t0 = time.perf_counter()
        found = scanner.scan()
        times.append(time.perf_counter() - t0)
        if len(found.runs) != runs:
            raise SystemExit(f"the ledger sees {len(found.runs)} of {runs} runs: {found.problems[:1]}")
    return times[0], times[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--every", type=float, default=5.0, help="seconds between scrapes")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long each size is looked at")
    parser.add_argument("--runs", type=int, default=2000, help="runs in the ledger")
    parser.add_argument("--quick", action="store_true", help="small sizes and short looks: does it work")
    options = parser.parse_args()
    if options.quick:
        options.workers, options.seconds, options.runs, options.every = [64, 128], 8.0, 100, 2.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with redirect_stderr(StringIO()):  # what the watches have to say is no matter here
            texts = [watched(folder, 0), watched(folder, 1)]
        per = [sum(not line.startswith("#") for line in text.splitlines()) for text in texts]
        print(f"a worker has {per[1]} series, rank 0 {per[0]}")
        fleet = Fleet(texts)
        found = []
        (folder / "p").mkdir()
        with prometheus(folder / "p", options.every) as url:
            print(" workers  targets   series  samples/s   CPU %  memory MB   rules s")
            for workers in options.workers:
                fleet.grow(workers, folder / "p" / "targets.json")
                found.append(measure(url, fleet, workers, options.seconds))
                show(found[-1], options.every)
            fleet.grow(options.workers[-1], folder / "p" / "targets.json", per_target=1)
            single = measure(url, fleet, options.workers[-1], options.seconds)
            show(single, options.every)
        size = bytes_per_sample(folder, texts)
        first, again = ledger(folder / "runs", folder / "rank0" / "summary.json", options.runs)
    fleet.server.shutdown()
    plan(found, single, options.every, size, (first, again, options.runs))


def show(m: Measured, every: float) -> None:
    print(
        f"{m.workers:>8} {m.targets:>8} {m.series:>8.0f} {m.samples / every:>10.0f} {100 * m.cpu:>7.1f} "
        f"{m.memory / 2**20:>10.0f} {m.rules:>9.3f}",
        flush=True,
    )


def plan(
    found: Sequence[Measured], single: Measured, every: float, size: float, book: tuple[float, float, int]
) -> None:
    """The slopes, and what they mean for the plan."""
    series, _ = slope(found, "series")
    cpu, _ = slope(found, "cpu")
    memory, base = slope(found, "memory")
    rules, _ = slope(found, "rules")
    samples = PLAN * series / 15
    print(f"\nper worker: {series:.1f} series, {1000 * cpu * every / 15:.3f} ms CPU per s at 15 s, "
          f"{memory / 2**10:.0f} KiB memory, {1000 * rules:.3f} ms of rules per evaluation")  # fmt: skip
    busy = cpu * every / 15
    print(f"one target per worker: {single.cpu / found[-1].cpu:.2f} x the CPU of one per machine, "
          f"{single.targets / found[-1].targets:.0f} x the targets")  # fmt: skip
    print(f"bytes per sample: {size:.2f}")
    print(f"ledger, {book[2]} runs: {book[0]:.2f} s the first time, {book[1]:.3f} s again")
    print(f"\n{PLAN} workers at 15 s, along these lines:")
    print(f"  series           {PLAN * series:>12,.0f}")
    print(f"  samples per s    {samples:>12,.0f}")
    print(f"  CPU, scraping    {PLAN * busy:>12.2f} cores")
    print(f"  CPU, rules       {PLAN * rules / EVALUATION:>12.2f} cores: {PLAN * rules:.2f} s every {EVALUATION} s")
    print(f"  memory           {(base + PLAN * memory) / 2**30:>12.2f} GiB before a block is cut")
    print(f"  disk, 30 days    {samples * 86400 * 30 * size / 2**30:>12.1f} GiB")


if __name__ == "__main__":
    main()
