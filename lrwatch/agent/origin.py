"""At which update a run, or a part of it, begins: asked once, before the first row.

The position of a scheduler is never used: it is what a watch is there to judge.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lrwatch.trace.writer import Position

How = Literal["start_step", "state", "optimizer", "run_dir", "fresh", "unknown"]
"""Who said so: the caller · a restored watch · the optimizer's own count · the last row in the run directory ·
nothing was there, so it begins · nobody."""

@dataclass(frozen=True)
class Origin:
    """Counters before the first row; with ``unknown`` they are a guess that must not be judged."""

    update: int
    attempt: int
    how: How
    micro: int | None = None

    @property
    def sentence(self) -> str:
        """What is worth saying about it; empty when it is as the caller expects."""
        if self.how == "unknown":
            return (
                "nobody says at which update this run starts, so it cannot be judged; pass start_step=, or restore "
                "watch.state_dict() with the checkpoint"
            )
        said = {
            "state": "the restored watch",
            "optimizer": "the optimizer's own step count",
            "run_dir": "the last row in the run directory",
        }.get(self.how)
        return f"goes on at update {self.update}, says {said}" if said else ""


@dataclass
class Locator:
    """What may be known about the beginning, and the first answer in order of trust.

    Attributes:
        optimizer: with ``state`` as torch has it; an empty one counts as fresh.
        start_step: what the caller says. state: of a restored watch. last: the newest row in the run directory.
        scheduler_moved: the scheduler had been stepped (more than once) when the watch began, so that an empty
            optimizer state does not mean that nothing was trained yet.
    """

    optimizer: Any
    start_step: int | None = None
    state: Mapping[str, Any] | None = None
    last: Position | None = None
    scheduler_moved: bool = False
    counted: int | None = None
    _hook: Any = None

    def look(self, *_: Any) -> None:
        """Ask the optimizer now, outside of any step, and wait for the device that has its count (fused optimizers)."""
        try:
            self.counted = optimizer_step(self.optimizer, wait=True)
        except Exception:
            self.counted = None

    def watch_loading(self) -> None:
        """Look now, and again whenever a state is loaded into the optimizer."""
        self.look()
        register = getattr(self.optimizer, "register_load_state_dict_post_hook", None)
        if register is not None:
            self._hook = register(self.look)

    def locate(self) -> Origin:
        """The counters before the first row; ``unknown`` when nobody says, or when asking failed."""
        try:
            if self._hook is not None:
                self._hook.remove()
            return self._locate()
        except Exception:
            return Origin(0, 0, "unknown")

    def _locate(self) -> Origin:
        start, state, last = self.start_step, self.state, self.last
        if start is not None and (state is None or state["update"] != start):
            return Origin(start, start, "start_step")
        if state is not None:
            how: How = "state" if start is None else "start_step"
            return Origin(state["update"], state["attempt"], how, state.get("micro"))
        count = optimizer_step(self.optimizer)
        if count is None:
            count = self.counted
        if count is not None:
            return Origin(count, count, "optimizer")
        if last is not None and last.update >= 0 and last.known:
            return Origin(last.update + 1, (last.update if last.attempt is None else last.attempt) + 1, "run_dir")
        if getattr(self.optimizer, "state", None) or self.scheduler_moved:
            return Origin(0, 0, "unknown")
        return Origin(0, 0, "fresh")


def optimizer_step(optimizer: Any, wait: bool = False) -> int | None:
    """How many updates the optimizer itself has counted, the most over its parameters; None when it does not count.

    A count that lives on a device is read only with ``wait``: that waits for the device.
    """
    if members := getattr(optimizer, "members", None):  # several: turns of the loop, if each stepped in every one
        each = {optimizer_step(member, wait) for member in members.values()}
        return each.pop() if len(each) == 1 else None
    torch: Any = sys.modules.get("torch")
    counts: list[int] = []
    tensors = []
    states = getattr(optimizer, "state", None)
    for entry in states.values() if isinstance(states, Mapping) else ():
        step = entry.get("step") if isinstance(entry, Mapping) else None
        if isinstance(step, (int, float)):
            counts.append(int(step))
        elif torch is not None and isinstance(step, torch.Tensor):
            if step.is_cpu and step.numel() == 1:
                counts.append(int(step.item()))
            else:
                tensors.append(step)
    if wait and tensors:
        from lrwatch.agent import device

        counts += device.counts(tensors)
    return max(counts, default=None)
