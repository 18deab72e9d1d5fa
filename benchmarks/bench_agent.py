"""What ``watch.step`` costs the training thread, beside what else could be called there.

    python benchmarks/bench_agent.py [--quick]    # beside TensorBoard and wandb with `pip install .[torch,bench]`

All alternatives take turns in one process, so that a busy machine is busy for all of them: compare the ratios. Three
settings: a hot loop (warm caches), once inside every step of a small training (cold caches), and whole steps of a tiny
model with and without a watch whose worker writes, judges and is scraped once a second.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import statistics
import tempfile
import threading
import urllib.request
from collections import deque
from collections.abc import Callable
from time import clock_gettime, perf_counter_ns, pthread_getcpuclockid, sleep, thread_time
from typing import Any

import torch
from prometheus_client import CollectorRegistry, Gauge
from torch.optim.lr_scheduler import CosineAnnealingLR

import lrwatch
from lrwatch.agent.origin import Origin
from lrwatch.agent.recorder import Recorder

Call = Callable[[], object]
CONTRACT = {
    "lrwatch": 1,
    "experiment": "bench",
    "clock": {"horizon": 1_000_000},
    "lr": {"base": 3e-4, "schedule": [{"cosine": {"to": 3e-5, "until": "horizon"}}]},
}


# -- what is compared -------------------------------------------------------------------------------------


def watch_step(groups: int, loss: Any, norm: Any) -> tuple[Call, Call]:
    """The two calls of one update, and how to empty the ring between rounds (the worker's part)."""
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, 1000)
    recorder = Recorder(
        optimizer, scheduler=scheduler, scaler=None, name=lambda i, g: str(i), companions={},
        locate=lambda: Origin(0, 0, "fresh"),
    )  # fmt: skip
    before, step = recorder.before_update, recorder.step

    def call() -> None:
        before(optimizer, (), {})
        step(loss=loss, grad_norm=norm)

    return call, recorder.ring.clear


def gauges() -> Call:
    registry = CollectorRegistry()
    a, b, c = (Gauge(n, "x", ["run"], registry=registry).labels("r").set for n in ("lr", "loss", "norm"))

    def call() -> None:
        a(0.1)
        b(2.0)
        c(1.5)

    return call


def tensorboard(folder: str) -> Call | None:
    try:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(folder)
    except ImportError:
        return None

    def call() -> None:
        writer.add_scalar("lr", 0.1, 1)
        writer.add_scalar("loss", 2.0, 1)
        writer.add_scalar("norm", 1.5, 1)

    return call


def wandb(folder: str) -> Call | None:
    try:
        module = importlib.import_module("wandb")
    except ImportError:
        return None
    run = module.init(mode="offline", dir=folder)
    return lambda: run.log({"lr": 0.1, "loss": 2.0, "norm": 1.5})


def alternatives(folder: str) -> dict[str, tuple[Call, Call]]:
    """Name → (what is timed, what is done between rounds)."""
    ring: deque[tuple[float, ...]] = deque()
    nothing: Call = lambda: None  # noqa: E731  # as short as the calls beside it
    loss, norm = torch.tensor(2.0, requires_grad=True) * 1, torch.tensor(1.5)
    cases: dict[str, tuple[Call | None, Call]] = {
        "nothing (the timer itself)": (nothing, nothing),
        "deque.append of 5 floats": (lambda: ring.append((0.0, 1.0, 2.0, 3.0, 4.0)), ring.clear),
        "3 x Gauge.set, resolved": (gauges(), nothing),
        "watch.step, floats, 1 group": watch_step(1, 2.0, 1.5),
        "watch.step, CPU tensors, 1 group": watch_step(1, loss, norm),
        "watch.step, floats, 10 groups": watch_step(10, 2.0, 1.5),
        "watch.step, floats, 100 groups": watch_step(100, 2.0, 1.5),
        "3 x TensorBoard add_scalar": (tensorboard(folder), nothing),
        "wandb offline log": (wandb(folder), nothing),
    }
    return {name: (call, between) for name, (call, between) in cases.items() if call is not None}


# -- how it is measured -----------------------------------------------------------------------------------


def hot(cases: dict[str, tuple[Call, Call]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds per call, every call timed by itself, all alternatives in turn."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (call, between) in cases.items():
            times = taken[name]
            for _ in range(calls):
                began = perf_counter_ns()
                call()
                times.append((perf_counter_ns() - began) / 1000)
            between()
    return taken


def in_step(cases: dict[str, tuple[Call, Call]], steps: int) -> dict[str, list[float]]:
    """The same inside a real step of some milliseconds: every alternative once per step, in turning order."""
    model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256))
    optimizer = torch.optim.AdamW(model.parameters())
    batch = torch.randn(64, 256)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for step in range(steps * len(names)):
        optimizer.zero_grad()
        model(batch).pow(2).mean().backward()
        optimizer.step()
        name = names[step % len(names)]
        call, between = cases[name]
        began = perf_counter_ns()
        call()
        taken[name].append((perf_counter_ns() - began) / 1000)
        between()
    return taken


def whole_steps(blocks: int, steps: int) -> tuple[list[list[float]], list[list[float]], list[float], list[float]]:
    """Microseconds per step of a tiny model, in blocks without and with a watch that take turns; and per step the
    processor time of the training thread without a watch, and of the watch's worker, which holds the interpreter then.

    The contract is kept: what is being diagnosed costs more.
    """
    model = torch.nn.Sequential(*[torch.nn.Linear(16, 16) for _ in range(20)])
    batch = torch.randn(4, 16)
    results: tuple[list[list[float]], list[list[float]]] = ([], [])
    training: list[float] = []
    working: list[float] = []
    for block in range(blocks * 2):
        watched = block % 2 == 1
        optimizer = torch.optim.SGD(model.parameters(), lr=3e-4)  # a new one: the rate goes on from where it stood
        scheduler = CosineAnnealingLR(optimizer, 1_000_000, 3e-5)
        with tempfile.TemporaryDirectory() as folder:
            watch = None
            if watched:
                watch = lrwatch.watch(optimizer, CONTRACT, scheduler=scheduler, run_dir=folder, start_step=0)
            stop = threading.Event()
            if watch is not None:
                threading.Thread(target=scraper, args=(watch.url, stop), daemon=True).start()
            times: list[float] = []
            results[watched].append(times)
            spent = thread_time()
            for _ in range(steps):
                began = perf_counter_ns()
                optimizer.zero_grad()
                loss = model(batch).pow(2).mean()
                loss.backward()
                optimizer.step()
                scheduler.step()
                if watch is not None:
                    watch.step(loss=loss)
                times.append((perf_counter_ns() - began) / 1000)
            stop.set()
            if watch is None:
                training.append((thread_time() - spent) / steps * 1e6)
            else:
                clock = pthread_getcpuclockid(watch._parts.worker._thread.ident)
                working.append(clock_gettime(clock) / steps * 1e6)
                watch.close()
    return *results, training, working


def scraper(url: str | None, stop: threading.Event) -> None:
    while url is not None and not stop.wait(1.0):
        urllib.request.urlopen(url, timeout=5).read()


# -- what is printed --------------------------------------------------------------------------------------


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def table(title: str, taken: dict[str, list[float]], unit: str = "us") -> None:
    timer = statistics.median(taken["nothing (the timer itself)"])
    gauge = statistics.median(taken["3 x Gauge.set, resolved"]) - timer
    print(f"\n{title}\n{'':36}{'median':>9}{'p99':>9}  / 3 x Gauge.set")
    for name, times in taken.items():
        median = statistics.median(times) - timer
        print(f"{name:36}{median:9.2f}{percentile(times, 0.99) - timer:9.2f}{median / gauge:9.2f}")
    ours = statistics.median(taken["watch.step, floats, 1 group"]) - timer
    for name in [name for name in taken if "TensorBoard" in name or "wandb" in name]:
        print(f"watch.step, floats, 1 group, is {(statistics.median(taken[name]) - timer) / ours:.0f} x under {name}")
    print(f"{unit}, the timer's own {timer:.2f} subtracted, n = {len(next(iter(taken.values())))} each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of a minute")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = alternatives(folder)
        for name in ("TensorBoard", "wandb"):
            if not any(name in case for case in cases):
                print(f"{name} is not installed and left out")
        hot(cases, 2, 50)
        gc.collect()
        table("Hot loop", hot(cases, 20 if quick else 100, 200))
        table("Inside a training step (cold caches)", in_step(cases, 60 if quick else 400))
    sleep(0.5)
    without, with_watch, training, working = whole_steps(2 if quick else 6, 1500 if quick else 6000)
    print("\nWhole steps of a tiny model, worker and one scrape a second active")
    print(f"{'':36}{'median':>9}{'p99':>9}")
    for name, blocks in (("without", without), ("with lrwatch.watch", with_watch)):
        times = [t for block in blocks for t in block]
        print(f"{name:36}{statistics.median(times):9.1f}{percentile(times, 0.99):9.1f}")
    ratios = [statistics.mean(b) / statistics.mean(a) for a, b in zip(without, with_watch, strict=True)]
    print(f"ratio of the means of paired blocks: median {statistics.median(ratios):.3f} of {len(ratios)}")
    share = statistics.median(working) / statistics.median(training)
    print(f"processor time of the worker per step: {statistics.median(working):.1f} us, {share:.1%} of the step's own")


if __name__ == "__main__":
    main()
