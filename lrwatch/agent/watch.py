"""``lrwatch.watch``: two lines in a training loop.

    with lrwatch.watch(optimizer, contract="contract.yaml", scheduler=scheduler) as watch:
        for batch in loader:
            ...
            optimizer.step()
            scheduler.step()
            watch.step(loss=loss, grad_norm=norm)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lrwatch.agent import arguments, gradients, peers, process, summary
from lrwatch.agent import publish as publishing
from lrwatch.agent.announce import say
from lrwatch.agent.exporter import Exporter
from lrwatch.agent.gradients import GradientRecorder
from lrwatch.agent.meters import Meters
from lrwatch.agent.naming import name_run
from lrwatch.agent.origin import Locator
from lrwatch.agent.ranks import identify
from lrwatch.agent.recorder import Recorder
from lrwatch.agent.rows import Assembler
from lrwatch.agent.running import Parts, TrainingContractBroken, Watch
from lrwatch.agent.several import Positions, Several, SeveralRecorder, named
from lrwatch.agent.thinning import LARGE, Thinner
from lrwatch.agent.worker import Worker
from lrwatch.contract import signature
from lrwatch.contract.kept import keep
from lrwatch.contract.model import Contract
from lrwatch.engine import Session
from lrwatch.errors import LrwatchError
from lrwatch.findings import Finding, Severity
from lrwatch.trace.writer import Position, TraceWriter, last_position

__all__ = ["TrainingContractBroken", "Watch", "watch"]


def watch(
    optimizer: Any,
    contract: str | os.PathLike[str] | Mapping[str, Any] | Contract | None = None,
    *,
    scheduler: Any = None,
    scaler: Any = None,
    start_step: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    run_id: str | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    accumulate: int | None = None,
    on_finding: Callable[[Finding], object] | None = None,
    fail_on: str | Severity | None = None,
    group_names: Sequence[str] | None = None,
    publish: bool | None = None,
    tls: Mapping[str, Any] | None = None,
    linger_s: float = 0.0,
    handle_sigterm: bool = False,
    contract_key: str | os.PathLike[str] | None = None,
    grad_norm_every: int | None = None,
    grad_norm_scope: str | None = None,
) -> Watch:
    """Record what an optimizer uses, judge it while it happens, and serve metrics.

    Args:
        optimizer: torch's, or a wrapper with it as ``.optimizer``. A second watch on it closes the first. Several, as
            ``{"gen": …, "disc": …}`` or a sequence, share a row: ``lr/gen/0``, ``lr/disc/0``.
        contract: a path, plain data or a Contract; without one only the checks run that need none.
        scheduler: its position is recorded with every row and exposes stepping faults at once. Of several, given in the
            same way, that of the first.
        scaler: GradScaler, so that skipped updates are told from missing ones.
        start_step: updates applied before the first one seen here. Without it: a restored ``state_dict``, the
            optimizer's own step count, or the last row in the run directory says.
        run_dir, run_id: default ``runs/<experiment>-<job or time>``; resuming in the same directory is fine.
        port: of the metrics; any free one by default (see ``watch.url``, or ``targets/`` in the run directory).
        host: the address to listen on.
        accumulate: micro-batches per update; default: the contract's.
        on_finding: called once with each new finding, from the worker's thread.
        fail_on: ``info``, ``warning`` or ``error``: ``close`` raises ``TrainingContractBroken`` from this severity on.
        group_names: names of the parameter groups in order; default: ``group["name"]``, else the index.
        publish: leave the metrics in the run directory for ``lrwatch ops node``, which then serves the workers of a
            machine on one port; this one's own port is not announced. Default: whether LRWATCH_PUBLISH is set.
        tls: ``certfile`` and ``keyfile`` for HTTPS; with ``client_cafile`` scrapers must show a certificate of it.
        linger_s: seconds that ``close`` waits at most, on rank 0, until every scraper seen has read the final state
            twice. Not for a process that was told to end.
        handle_sigterm: close the watch when SIGTERM ends the process; a handler that there is already is left alone.
        contract_key: the public keys of who may sign contracts; nothing is watched under one that none of them signed
            (``lrwatch contract sign``). Default: the file that LRWATCH_CONTRACT_KEY names, if any.
        grad_norm_every: at every so many updates, record the sum of squares of the gradients that this worker holds, as
            the update uses them or as ``before_clipping`` found them. Not for optimizers that step in parts.
        grad_norm_scope: ``local`` where each worker holds a shard (FSDP, ZeRO), so that only the workers' sum is the
            norm; ``global`` where each holds all gradients (DDP). To be said for more than one worker.

    Raises:
        ContractError: the contract cannot be used, or is not signed where that is asked for.
        LrwatchError: no parameter groups, two groups of one name, a run id that is no file name, an unknown severity,
            certificates that are not there.
            Afterwards nothing is raised into the training, but by ``close`` where ``fail_on`` asks for it.
    """
    inner, make, name = _target(optimizer, group_names)
    promised = arguments.promise(contract)
    signed = signature.required(promised, contract_key) is not None
    least, secured = arguments.severity(fail_on), arguments.tls(tls)
    identity = identify()
    scope = gradients.scope(grad_norm_every, grad_norm_scope, identity.world)
    if grad_norm_every is not None:
        if make is not Recorder:
            raise LrwatchError("grad_norm_every= reads one optimizer; give each of several a watch of its own")
        make = partial(GradientRecorder, every=grad_norm_every, whole=scope == "global")
    run, directory = name_run(run_id, run_dir, promised.experiment if promised else "run", identity)
    for other in process.members():
        if set(map(id, _parts(other.optimizer))) & set(map(id, _parts(inner))):
            say("another watch() on the same optimizer: the first one ends here")
            other._close("stopped")

    schedulers = named(scheduler)
    position = arguments.with_position(scheduler) if schedulers is None else Positions(schedulers.values())
    last = _last(directory, identity.rank)
    moved = (getattr(position, "last_epoch", None) or 0) > 1
    locator = Locator(inner, start_step, last=last, scheduler_moved=moved)
    locator.watch_loading()
    accumulate = accumulate or (promised.batch.accumulate if promised else None)
    recorder = make(
        inner,
        scheduler=position,
        scaler=scaler,
        name=name,
        companions={k: v for k, v in arguments.COMPANIONS.items() if promised and k in promised.signals},
        locate=locator.locate,
        accumulate=accumulate,
    )
    about = {
        "run": run,
        "experiment": promised.experiment if promised else None,
        "world": identity.world,
        "contract": str(promised.identity) if promised else None,
        "accumulate": accumulate,
        "steps_per_epoch": promised.batch.steps_per_epoch if promised else None,
        "grad_norm": scope,
        "grad_norm_every": grad_norm_every,
    }
    writes = promised.recording.ranks if promised else None
    if writes is None:
        writes = "changes" if (identity.world or 1) > LARGE else "all"
    thinned = writes == "changes" and identity.rank != 0
    if thinned:
        about["rows"] = "changes"
    segment = 0 if last is None else last.segment + 1
    assembler = Assembler(
        rank=identity.rank, world=identity.world, segment=segment, accumulate=accumulate, about=about
    )
    earlier = summary.read(directory, identity.rank)
    spent = earlier.get("gpu_seconds")
    meters = Meters(
        rank=identity.rank,
        world=identity.world,
        attempt=segment + 1,
        contract=promised,
        signed=signed,
        gpu_seconds=spent if isinstance(spent, float) else 0.0,
        linger=max(linger_s, 0.0) if identity.rank == 0 else 0.0,
    )
    meters.goal.restore(earlier)
    writer = None if writes == "rank0" and identity.rank != 0 else partial(TraceWriter, directory, identity.rank)
    worker = Worker(recorder, assembler, Session(promised, live=True), meters, writer, on_finding)
    published = publishing.asked_for(publish)
    announced = None if published else directory
    if promised is not None:
        worker.keep_beside = partial(keep, promised, directory, True)
    if promised is not None and identity.rank == 0:
        worker.first.append(("the contract cannot be copied", partial(keep, promised, directory)))
    exporter = Exporter(
        lambda: worker.snapshot,
        run_id=run, rank=identity.rank, host=host, port=port, run_dir=announced, tls=secured,
    )  # fmt: skip
    worker.thinner = Thinner() if thinned else None
    where = peers.address()
    if where is not None and identity.world != 1:
        contract_held = str(promised.identity) if promised else None
        worker.comparison = peers.Comparison(run, identity.rank, identity.world, contract_held, where)
    if published:
        worker.publisher = publishing.Publisher(directory, identity.rank, exporter.text)
    if handle_sigterm and (why := process.handle_sigterm()):
        say(f"handle_sigterm: {why}; the watch will not be closed by it")
    lingering = linger_s if identity.rank == 0 and not published else 0.0
    parts = Parts(inner, promised, identity, locator, recorder, worker, exporter, least, lingering)
    return Watch(run, directory, parts)


def _target(optimizer: Any, group_names: Sequence[str] | None) -> tuple[Any, Callable[..., Recorder], arguments.Name]:
    """What to record, how, and what its groups are called."""
    several = named(optimizer)
    if several is None:
        inner = arguments.unwrapped(optimizer)
        return inner, Recorder, arguments.naming(inner.param_groups, group_names)
    together = Several.of(several)
    given = arguments.naming(together.param_groups, group_names or together.names())
    return together, SeveralRecorder, given if group_names else together.name


def _parts(optimizer: Any) -> list[Any]:
    """The optimizers themselves."""
    return list(optimizer.members.values()) if isinstance(optimizer, Several) else [optimizer]


def _last(run_dir: Path, rank: int) -> Position | None:
    try:
        return last_position(run_dir, rank)
    except OSError as error:
        say(f"{run_dir}: the trace of an earlier start cannot be read ({error.strerror})")
        return None
