"""How the workers come to life: in this process, from torchrun's environment, or forked on this machine."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from lrwatch import contract as contracts
from lrwatch.contract import signature
from lrwatch.errors import LrwatchError, MissingExtra
from lrwatch.trainer.faults import behaviour
from lrwatch.trainer.settings import Settings, refuse_to_overwrite, validate
from lrwatch.trainer.stop import EXIT_BASE

if TYPE_CHECKING:
    from lrwatch.trainer.loop import MakeWatch
    from lrwatch.trainer.place import Place

GRACE_SECONDS = 30.0
"""How long the other workers may take to stop once one of them has ended badly."""
FAILED, _BAD_INPUT = 1, 2
"""Exit codes: training broke, with a traceback on stderr · an LrwatchError."""
_PRELOAD = ["torch._dynamo", "torch.nn.parallel", "lrwatch.trainer.loop"]
"""What the fork server imports once for all workers; DDP imports torch._dynamo late, and that takes seconds."""


def launch(settings: Settings, make_watch: MakeWatch | None = None) -> int:
    """Train under ``settings`` and return the exit code: that of ``loop.work``, or 1 where training broke.

    Args:
        make_watch: stands in for ``lrwatch.watch``; a function that workers can import by name.

    Raises:
        LrwatchError: whatever is wrong with the input, before anything is written.

    Example:
        >>> launch(Settings(Path("contract.yaml"), workers=4))          # doctest: +SKIP
        0
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("lrwatch train", "torch")
    contract = contracts.load(settings.contract)
    signature.required(contract, settings.contract_key)
    validate(settings, contract)
    for rank in range(settings.world):
        how = behaviour(settings.inject, rank, settings.world)
        how.built_from(contract), how.told(contract)
    if settings.started_by_torchrun():
        return _worker(settings, int(os.environ["RANK"]), settings.world, "env://", make_watch)
    settings = settings.located(contract.experiment)
    refuse_to_overwrite(settings)
    if settings.world == 1:
        return _worker(settings, 0, 1, None, make_watch)
    return _fork(settings, make_watch)


def _worker(settings: Settings, rank: int, world: int, init_method: str | None, make_watch: MakeWatch | None) -> int:
    """Be worker ``rank``."""
    from lrwatch.trainer.loop import work
    from lrwatch.trainer.place import join

    if make_watch is None:
        from lrwatch.agent.watch import watch

        make_watch = watch
    contract = contracts.load(settings.contract)
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    try:
        with join(rank, local_rank, world, settings.device, init_method) as place:
            if init_method == "env://":
                settings = _located_together(settings, contract.experiment, place)
            return work(settings, contract, place, make_watch)
    except LrwatchError:
        raise
    except Exception:
        traceback.print_exc()
        return FAILED


def _located_together(settings: Settings, experiment: str, place: Place) -> Settings:
    """Rank 0 names the run and looks whether it may be written; then all workers agree, or all refuse."""
    verdict: Settings | str
    try:
        verdict = settings.located(experiment)
        refuse_to_overwrite(verdict)
    except LrwatchError as error:
        verdict = str(error)
    verdict = place.from_first(verdict)
    if isinstance(verdict, str):
        raise LrwatchError(verdict)
    return verdict


def _fork(settings: Settings, make_watch: MakeWatch | None) -> int:
    """Start the workers from a fork server, forward signals to them and wait for all; the first bad exit code.

    A fork server imports torch once for all of them, and, unlike a fork of this process, has run no thread
    and no backward pass that a child could not inherit.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    errors = context.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="lrwatch-") as meeting:
        processes = [
            context.Process(
                target=_forked,
                args=(settings, rank, settings.world, f"file://{meeting}/workers", make_watch, errors),
                name=f"worker {rank}",
                daemon=True,
            )
            for rank in range(settings.world)
        ]
        try:
            with _forwarding(processes):
                for process in processes:
                    process.start()
                code = _wait(processes)
        finally:
            for process in processes:
                if process.pid is not None and process.is_alive():  # only if this process is on its way out
                    process.kill()
    if code == _BAD_INPUT and not errors.empty():
        raise LrwatchError(errors.get())
    return code


def _forked(
    settings: Settings, rank: int, world: int, init_method: str, make_watch: MakeWatch | None, errors: SimpleQueue[str]
) -> None:
    try:
        code = _worker(settings, rank, world, init_method, make_watch)
    except LrwatchError as error:
        errors.put(str(error))
        code = _BAD_INPUT
    sys.exit(code)


def _wait(processes: Sequence[BaseProcess]) -> int:
    """Wait for all; once one has ended badly, the others get GRACE_SECONDS to do the same."""
    code, deadline, running = 0, None, set(processes)
    while running:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ended = wait([p.sentinel for p in running], timeout=left)
        if not ended:
            for process in running:
                process.kill()
            deadline = None
        for process in [p for p in running if p.sentinel in ended]:
            process.join()
            running.discard(process)
            if not code and process.exitcode:
                code = process.exitcode if process.exitcode > 0 else EXIT_BASE - process.exitcode
                deadline = time.monotonic() + GRACE_SECONDS
    return code


@contextmanager
def _forwarding(processes: Sequence[BaseProcess]) -> Iterator[None]:
    """Pass SIGTERM and SIGINT on to the workers, which checkpoint and stop; a second Ctrl-C kills them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def forward(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)
        how = signal.SIGKILL if seen.count(signal.SIGINT) > 1 else signum
        for process in processes:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, how)

    before = {s: signal.signal(s, forward) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
