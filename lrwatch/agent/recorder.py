"""The training thread's side of a watch: it appends to a ring, and nothing here waits, raises or talks to anybody.

    optimizer.step()   → ``before_update`` (a pre-step hook) opens a row: the values that this update uses
    watch.step(loss)   → ``step`` closes it: counters, loss, gradient norm, time

What can be odd between the two, and what is made of it:

* a hook without a ``step`` after it: the row is closed by the next hook, without loss;
* a ``step`` without a hook, and a loss scaler that says why: an update that was attempted and skipped;
* a ``step`` without a hook otherwise: remembered, and forgotten if a hook comes again (``watch.step`` per
  micro-batch); after ``PATIENCE`` in a row the hook is taken for dead (a CUDA graph, a replaced optimizer) and values
  are read in ``step``: a new segment, marked ``after``;
* a fused optimizer that skips by itself: its ``found_inf`` tells, perhaps only when it has arrived from the device.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Any, Final

from lrwatch.agent.notes import ATTEMPT, LAG, VALUES, Columns, Later, Note, describe, dtype, plain
from lrwatch.agent.origin import Origin
from lrwatch.agent.outgoing import CAPACITY, Outgoing
from lrwatch.agent.skips import skip_evidence

PATIENCE: Final = 3
"""Calls of ``step`` without a hook after which the hook is taken for dead."""

Group = Mapping[str, Any]


class NoScheduler:
    """Stands in where no scheduler was given."""

    last_epoch = None


class Recorder(Outgoing):
    """Reads one optimizer.

    Args:
        optimizer: unwrapped, has ``param_groups``. scheduler, scaler: torch's, or None.
        name: index and group → the group's name. companions: further signals → how to read them from a group.
        locate: where the run begins; asked once, before the first row.
        accumulate: micro-batches per update, where known.
    """

    # Slots, because an object with more than thirty attributes loses the interpreter's fast way to them.
    __slots__ = (
        "_after", "_asked", "_companions", "_cuda", "_device", "_early", "_found_inf", "_fused", "_handle",
        "_idle", "_idle_said", "_locate", "_name", "_optimizer", "_patience", "_scaler", "_scheduler", "_tensor",
        "_width", "closed", "errors", "memory", "notices", "started",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: Any,
        *,
        scheduler: Any,
        scaler: Any,
        name: Callable[[int, Group], str],
        companions: Mapping[str, Callable[[Group], Any]],
        locate: Callable[[], Origin],
        accumulate: int | None = None,
        capacity: int = CAPACITY,
    ):
        super().__init__(capacity)
        self.notices: deque[str] = deque()
        self.micros: int | None = None
        self.errors = 0
        self.started = self.closed = False
        self._optimizer, self._scheduler = optimizer, scheduler
        self._scaler = scaler if scaler is not None and getattr(scaler, "is_enabled", lambda: True)() else None
        self._position: Any = NoScheduler if scheduler is None else scheduler
        self._name, self._companions, self._locate = name, companions, locate
        self._device: Any = None
        self._tensor: Any = NoScheduler
        if "torch" in sys.modules:
            from lrwatch.agent import device

            self._device, self._tensor = device, device.Tensor
        self._cuda: Any = None
        self._asked = False
        self.memory: tuple[int, int] | None = None
        self._width, self._simple = 0, False
        self._open: tuple[Any, ...] | None = None
        self._sched: Any = None
        self._fused = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self._found_inf: Any = None
        self._unusual = True  # the next hook finds something to do first
        self._early: list[Note] = []
        self._idle: list[list[Any]] = []
        self._idle_said = False
        self._patience = 2 * accumulate if accumulate is not None and accumulate > 1 else PATIENCE
        self._after = False
        self._handle: Any = None
        self._attach()

    # -- the two calls of every update ----------------------------------------------------------------

    def before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """The pre-step hook: opens a row with the values that this update uses."""
        try:
            if self._unusual or self._open is not None:
                if self.closed:
                    return
                self._before_unusual()
            if self._simple:
                (group,) = optimizer.param_groups
                lr = group["lr"]
                self._open = (lr if lr.__class__ is float else self._value(lr),)
            else:
                self._open = self._read(optimizer.param_groups)
                if self._fused:
                    self._see_found_inf(optimizer)
            self._sched = self._position.last_epoch
        except Exception:
            if not self._regrouped(optimizer):
                self.errors += 1

    def step(
        self,
        loss: Any = None,
        grad_norm: Any = None,
        epoch: Any = None,  # by keyword only in ``Watch.step``; here that would cost another look-up for each
        samples: Any = None,
        tokens: Any = None,
    ) -> None:
        """Close the row of an update."""
        try:
            if loss.__class__ is not float and loss is not None:
                loss = self._value(loss)
            if grad_norm.__class__ is not float and grad_norm is not None:
                grad_norm = self._value(grad_norm)
            values = self._open
            if values is None:
                self._without_hook(loss, grad_norm, epoch, samples, tokens)
                return
            self._open = None
            attempt = self.attempt
            self.attempt = attempt + 1
            row = (
                attempt, self.lag, self.micros, self._sched, time(),
                loss, grad_norm, epoch, samples, tokens, None, values,
            )  # fmt: skip
            if attempt < self.limit:
                self.ring.append(row)
            else:
                self._out(list(row))
        except Exception:
            self.errors += 1

    # -- rare calls -------------------------------------------------------------------------------------

    def ask_memory(self) -> None:
        """The worker wants to know how full the accelerator is: the next row looks, for its thread may ask."""
        if self._cuda is not None:
            self._asked, self.limit = True, -1

    def micro(self) -> None:
        """Count one backward pass."""
        self.micros = (self.micros or 0) + 1

    def before_clipping(self) -> None:
        """Only for who reads gradients, see ``agent.gradients``."""

    def event(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Something happened between two updates; its numbers are taken by value, tensors among them."""
        if self.closed:
            return
        try:
            later: list[Later] = []
            note = Note(kind, self.update + (self._open is not None), time(), plain(fields, self._value, later))
            if not self.started:
                for container, key, copy in later:
                    container[key] = copy.value if copy.settled(wait=True) else None
                self._early.append(note)
                return
            self.between(note, later)
            self._release()
        except Exception:
            self.errors += 1

    def position(self) -> Origin:
        """The counters after the updates so far. Waits for what waits for a device."""
        self._release(wait=True)
        if not self.started:
            return self._locate()
        opened = self._open is not None
        return Origin(self.update + opened, self.attempt + opened, "state", self.micros)

    def restart(self, origin: Origin) -> None:
        """Go on from other counters, in a new segment: a checkpoint was restored in mid-run."""
        self._close_row()
        self._release(wait=True)
        self._begin(origin)

    def close(self, outcome: str) -> None:
        """No more rows: detach, let out what waits, and end with an event."""
        if self.closed:
            return
        try:
            if self._handle is not None:
                self._handle.remove()
            self._close_row()
            if self._idle and not self.started:  # a run of fewer updates than the patience
                self._fall_back()
            self._start()
            self._release(wait=True)
            self.put(Note("end", self.update, time(), {"outcome": outcome}))
        except Exception:
            self.errors += 1
        self.closed = self._unusual = True

    def abandon(self) -> None:
        """In a forked child: record nothing, keep nothing."""
        self.closed = self._unusual = True
        self._open = None
        for kept in (self.ring, self.notices, self._queue, self._early, self._idle):
            kept.clear()

    def names(self) -> tuple[str, ...]:
        """The groups' names, in order."""
        return tuple(self._name(i, g) for i, g in enumerate(self._optimizer.param_groups))

    # -- beginning ----------------------------------------------------------------------------------------

    def _attach(self) -> None:
        register = getattr(self._optimizer, "register_step_pre_hook", None)
        if register is None:
            self._after = True
            self.notices.append(
                f"{type(self._optimizer).__name__} has no step hooks: learning rates are read in watch.step(), after "
                "the update; call it before scheduler.step()"
            )
            return
        if self._device is not None:
            self._device.untraced(type(self).before_update, Recorder._read, Recorder._value)
        self._handle = register(self.before_update)

    def _start(self) -> None:
        """The first segment; what waits for a device comes after it."""
        if self.started:
            return
        origin = self._locate()
        if origin.sentence:
            self.notices.append(origin.sentence)
        waiting, self._queue = self._queue, deque()
        self._begin(origin)
        for note in self._early:
            note.update = self.update
            self.put(note)
        self._early.clear()
        self._queue = waiting

    def _begin(self, origin: Origin) -> None:
        self.count_from(origin.update, origin.attempt)
        if origin.micro is not None:
            self.micros = origin.micro
        self._segment(origin)
        first = [p for g in self._optimizer.param_groups for p in g.get("params", ())[:1]]
        self._cuda = next((p.device for p in first if getattr(p, "is_cuda", False)), None)
        self.started = True

    def _segment(self, origin: Origin) -> None:
        """Say that a new segment begins, and how it is to be read."""
        groups = self._optimizer.param_groups
        fields: dict[str, Any] = {
            "origin": origin.how,
            "lr_read": "after" if self._after else "used",
            "groups": list(self.names()),
            "dtype": dtype(groups),
            **describe(self._scheduler),
        }
        if self.micros is not None:
            fields["micro"] = self.micros
        self.between(Note("resume" if self.started else "start", origin.update, time(), fields))
        self._regroup(groups)

    def _regroup(self, groups: Sequence[Group]) -> None:
        self._width = len(groups)
        self._simple = len(groups) == 1 and not self._companions and not self._fused
        self.between(Columns(self._columns()))

    def _columns(self) -> tuple[str, ...]:
        names = self.names()
        return tuple(f"{signal}/{name}" for signal in ("lr", *self._companions) for name in names)

    # -- reading ------------------------------------------------------------------------------------------

    def _regrouped(self, optimizer: Any) -> bool:
        """Whether reading failed only because a group was added; then it has been done again."""
        try:
            groups = optimizer.param_groups
            if len(groups) == self._width:
                return False
            self._open = self._read(groups)
            self._sched = self._position.last_epoch
            return True
        except Exception:
            return False

    def _read(self, groups: Sequence[Group]) -> tuple[Any, ...]:
        if len(groups) != self._width:
            self._regroup(groups)
        values = [lr if (lr := g["lr"]).__class__ is float else self._value(lr) for g in groups]
        for read in self._companions.values():
            values += [self._value(read(g)) for g in groups]
        return tuple(values)  # a tuple of numbers is soon of no concern to the garbage collector, a list always is

    def _value(self, x: Any) -> Any:
        """A float, a copy that is still on its way, None when there is no number in ``x``."""
        try:
            if x.__class__ is self._tensor and x.is_cpu:  # the usual case, without the calls below
                x = x.item()
                return x if x.__class__ is float else float(x)
            if isinstance(x, self._tensor):
                x = self._device.read(x)
                if x.__class__ is not float and x is not None:
                    self.mark_odd()
                return x
            if x is None:
                return None
            if isinstance(x, (str, bytes)):
                raise TypeError("text is no number")
            return float(x)
        except Exception:
            self.errors += 1
            return None

    def _see_found_inf(self, optimizer: Any) -> None:
        """A fused optimizer is told by GradScaler whether to skip, just before it steps."""
        found = getattr(optimizer, "found_inf", None)
        if found is not None:
            found = self._value(found)
            if found:
                self.mark_odd()
        self._found_inf = found

    # -- odd rows -----------------------------------------------------------------------------------------

    def _before_unusual(self) -> None:
        if self._idle:
            self._idle.clear()
            if not self._idle_said:
                self._idle_said = True
                self.notices.append(
                    "watch.step() was called without an optimizer step before it; that is no update. Call it once per "
                    "update (watch.micro() counts micro-batches), and pass scaler= if a loss scaler skips updates"
                )
        if self._after:  # hooks are back
            self._after = False
            self._patience *= 4
            if self.started:
                self._segment(Origin(self.update, self.attempt, "state"))
        self._start()
        self._close_row()
        self._unusual = False

    def _close_row(self) -> None:
        """Close an open row that nobody closed."""
        if self._open is not None:
            self.step()

    def _without_hook(self, *given: Any) -> None:
        if self.closed:
            return
        row: list[Any] = [0, 0, self.micros, self._position.last_epoch, time(), *given, None, None]
        if self._scaler is not None and not self._after:
            self._start()
            self._out(row, skip_evidence(self._scaler, self._optimizer, self._value))
        else:
            self._undecided(row)

    def _undecided(self, row: list[Any]) -> None:
        """A step without a hook, that no loss scaler accounts for."""
        groups = self._optimizer.param_groups
        if self._after:
            self._start()
        row[VALUES] = self._read(groups)
        if self._after:
            self._count(row)
            return
        self._idle.append(row)
        self._unusual = True
        if len(self._idle) >= self._patience:
            self._fall_back()

    def _fall_back(self) -> None:
        """The hook is dead: what was seen without it were updates."""
        self._after, rows = True, self._idle
        self._idle = []
        if self.started:
            self._segment(Origin(self.update, self.attempt, "state"))
        else:
            self._start()
        for row in rows:
            self._count(row)
        self.notices.append(
            f"no optimizer step was seen in {len(rows)} updates (a CUDA graph, or another optimizer?): learning rates "
            "are read in watch.step() from now on, after the update"
        )

    def _count(self, row: list[Any]) -> None:
        """A row without a hook is an update after all."""
        row[ATTEMPT], row[LAG] = self.attempt, self.lag
        self.attempt += 1
        self._out(row)

    def _out(self, row: list[Any], evidence: Any = None) -> None:
        """A row that needs more than an append."""
        self.hold(row, self._found_inf, evidence)
        self._found_inf = None
        if self._asked:
            self._asked = False
            self.memory = self._device.memory(self._cuda)
        self._release()

    def _release(self, wait: bool = False) -> None:
        for row in self.release(wait):
            self._undecided(row)
        self.look_around(open_row=self._open is not None)
