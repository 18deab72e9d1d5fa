"""The wrong thing, done inside a real trainer: a watch that behaves, and in between somebody who does not."""

from __future__ import annotations

import functools
import gc
import os
import socketserver
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lrwatch.gameday.scenarios import Act, Scenario
from lrwatch.trace.writer import replace_file
from lrwatch.trainer.settings import Settings

STARTED, SEEN, BEGUN, MENDED = "game-started", "game-seen", "game-begun", "game-mended"
"""Files in the run directory: rank 0 makes updates · Prometheus sees them · the trouble can be
known of · it was ended."""
SLOWLY: Final = 0.03
"""Seconds that an update takes from the trouble on: a run that is over in a moment cannot be seen to be in trouble."""


def _oom(hand: Saboteur) -> None:
    hand.watch.event("oom")


def _hang(hand: Saboteur) -> None:
    while not (hand.run_dir / MENDED).exists():
        time.sleep(0.1)


def _kill_agent(hand: Saboteur) -> None:
    """Its endpoint goes, its target stays: what is left of an agent whose threads have died."""
    for each in gc.get_objects():
        if isinstance(each, socketserver.TCPServer) and each.server_address[1] == hand.watch.port:
            each.shutdown()
            each.server_close()


def _halve_lr(hand: Saboteur) -> None:
    """After the scheduler has set the rate of the next update."""
    for group in hand.optimizer.param_groups:
        group["lr"] *= 0.5


def _zero_weights(hand: Saboteur) -> None:
    for parameter in hand.parameters():
        parameter.data.zero_()


def _start_over(hand: Saboteur) -> None:
    """Back to the weights of the first time, with an optimizer that has forgotten."""
    if not hand.kept:
        hand.kept = [parameter.data.clone() for parameter in hand.parameters()]
    for parameter, first in zip(hand.parameters(), hand.kept, strict=True):
        parameter.data.copy_(first)
    hand.optimizer.state.clear()


ACTS: Final[Mapping[str, Callable[[Saboteur], None]]] = {
    "oom": _oom, "hang": _hang, "kill_agent": _kill_agent, "halve_lr": _halve_lr, "zero_weights": _zero_weights,
    "start_over": _start_over,
}  # fmt: skip


class Saboteur:
    """A watch with an act in between. What it does not know it leaves to the watch."""

    def __init__(self, watch: Any, optimizer: Any, rank: int, scenario: Scenario, act: Act | None):
        self.watch, self.optimizer, self.run_dir = watch, optimizer, Path(watch.run_dir)
        self._rank, self._act, self._pace, self._needs = rank, act, scenario.pace, scenario.needs
        self._at, self._made, self._acted, self._begun = act.at if act else scenario.at, 0, False, False
        self.kept: list[Any] = []
        """Weights that an act wants to remember."""

    def parameters(self) -> list[Any]:
        """Everything that the optimizer updates."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def step(self, **values: Any) -> None:
        began = time.monotonic()
        self.watch.step(**values)
        self._made += 1
        if self._rank == 0 and self._made == 1:
            (self.run_dir / STARTED).touch()
        if self._rank == (self._act.rank if self._act else 0) and self._made > self._at:
            self._trouble()
        slowly = self._begun and not (self._act and self._act.every)
        pace = max(self._pace, SLOWLY) if slowly else self._pace
        time.sleep(max(0.0, pace - (time.monotonic() - began)))

    def _trouble(self) -> None:
        act = self._act
        if act is not None and act.seen and not (self.run_dir / SEEN).exists():
            return
        first, self._acted = not self._acted, True
        if not self._begun and self._made > self._at + self._needs:
            self._begun = True
            replace_file(self.run_dir / BEGUN, repr(time.time()).encode())  # whole: it is read as soon as it is there
        if act is not None and (first or (act.every and (self._made - self._at - 1) % act.every == 0)):
            ACTS[act.what](self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watch, name)


def watched(optimizer: Any, *, rank: int, scenario: Scenario, act: Act | None, **told: Any) -> Saboteur:
    """Stands in for ``lrwatch.watch`` in the reference trainer."""
    from lrwatch.agent.watch import watch

    return Saboteur(watch(optimizer, **told), optimizer, rank, scenario, act)


def train(settings: Settings, rank: int, meeting: str | None, scenario: Scenario, act: Act | None) -> None:
    """Be one worker of a scenario: the body of a process. Its exit code is the trainer's."""
    world = scenario.workers
    from lrwatch import contract as contracts
    from lrwatch.trainer.loop import work
    from lrwatch.trainer.place import join

    assert settings.run_dir is not None
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    with (settings.run_dir / f"log-rank{rank}").open("a", buffering=1) as log:
        sys.stdout = sys.stderr = log
        make = functools.partial(watched, rank=rank, scenario=scenario, act=act)
        # The agent asks the environment who it is, as under any launcher.
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
        try:
            with join(rank, rank, world, "cpu", meeting) as place:
                code = work(settings, contracts.load(settings.contract), place, make)
        except Exception:
            traceback.print_exc()
            code = 1
    sys.exit(code)
