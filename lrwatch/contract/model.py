"""The contract as frozen data. ``load`` makes it from YAML; ``curve`` turns it into numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from lrwatch.contract.hash import Identity

Axis = Literal["update", "attempt", "epoch", "sample", "token", "round"]
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Clock:
    """Which axis the schedule counts and how far it is planned to go.

    Attributes:
        axis: what t counts. counts: for axis ``update``, whether t counts ``applied`` updates or
            ``attempted`` ones (they differ when a loss scaler skips updates).
        horizon: planned end in clock units, None when the run has none.
        ticks: clock units per step of the axis. Where a scheduler is stepped several times per update, as
            accelerate does (once per process), its steps are the clock units.
    """

    axis: Axis = "update"
    counts: Literal["applied", "attempted"] = "applied"
    horizon: float | None = None
    ticks: int = 1


@dataclass(frozen=True)
class Batch:
    """What the clock needs to know about batches.

    Attributes:
        size: samples per update over all workers (``global`` in YAML). accumulate: micro-batches per update.
        steps_per_epoch: updates per epoch. ramp: ((first sample, batch size), …), increasing.
    """

    size: int | None = None
    accumulate: int | None = None
    steps_per_epoch: int | None = None
    ramp: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Phase:
    """One stretch of a schedule: a family from ``start`` to ``end`` (None: for ever), in clock units.

    ``params`` hold the family's parameters: kind ``value`` as ``(number, relative)``, where a relative
    number is a multiple of the base; of kind ``values`` as a tuple of such pairs; of kind ``schedules`` as
    a tuple of schedules, each a tuple of phases. ``length`` is the family's time scale (``over``, else end - start).
    ``low`` and ``high`` clamp the result (``min``, ``max`` in YAML, as a value each); with ``stairs`` local time is
    rounded down to a multiple of it.
    """

    family: str
    params: Mapping[str, Any]
    start: float
    end: float | None
    length: float | None
    offset: float = 0.0
    after: str = "continue"
    low: tuple[float, bool] | None = None
    high: tuple[float, bool] | None = None
    stairs: float | None = None


@dataclass(frozen=True)
class Group:
    """A parameter group that differs: its own base, a scale of the whole curve, or its own schedule."""

    name: str
    base: float | None = None
    scale: float = 1.0
    schedule: tuple[Phase, ...] | None = None


@dataclass(frozen=True)
class Signal:
    """The promise for one signal: base × scale × schedule, per group.

    ``dtype`` is the type that the trainer keeps the value in; ``recursive`` says that its scheduler
    computes each value from the last one, so rounding accumulates. ``shift`` is how far each worker is ahead on
    purpose: worker r stands at t + r·shift, or at t + shift[r] where each is given one (0 past the end of the list).
    """

    name: str
    base: float
    schedule: tuple[Phase, ...]
    groups: Mapping[str, Group] = field(default_factory=lambda: _EMPTY)
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float64"
    recursive: bool = False
    shift: float | tuple[float, ...] = 0.0

    def shifted(self, rank: int) -> float:
        """How many steps of the clock worker ``rank`` is ahead by promise."""
        if isinstance(self.shift, tuple):
            return self.shift[rank] if rank < len(self.shift) else 0.0
        return rank * self.shift

    def group(self, name: str) -> Group:
        """The group's own entry, or the signal's defaults.

        ``lr/<optimizer>/<group>`` is looked up as ``<optimizer>/<group>``, as ``<group>``, then as ``<optimizer>``.
        """
        for key in (name, name.rpartition("/")[2], name.partition("/")[0]):
            if key in self.groups:
                return self.groups[key]
        return Group(name)


@dataclass(frozen=True)
class Goal:
    """What the run is for: ``metric`` at least (``max``) or at most (``min``) ``target``."""

    metric: str
    target: float
    mode: Literal["min", "max"] = "min"


@dataclass(frozen=True)
class Cost:
    """Price of one GPU-hour and what the whole run may cost."""

    per_gpu_hour: float
    currency: str = "USD"
    budget: float | None = None


@dataclass(frozen=True)
class Recording:
    """Which ranks write a trace, and within how many seconds the next step is expected."""

    ranks: Literal["all", "rank0", "changes"] | None = None
    step_deadline: float | None = None


@dataclass(frozen=True)
class Tolerance:
    """|O - E| ≤ rtol·|E| + quantum/2 + atol·peak."""

    rtol: float = 1e-9
    atol: float = 1e-10


@dataclass(frozen=True)
class Amendment:
    """A declared change in mid-run, so that it is expected.

    Exactly one of: ``set`` (dotted path → value, from ``at`` on), ``multiply`` (signal → factor, from ``at``
    until ``until``), ``rewind`` ((from, to): the run went back, maybe skipping data).
    """

    at: float | None = None
    until: float | None = None
    set: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    multiply: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    join: Literal["jump", "continuous"] = "jump"
    rewind: tuple[float, float] | None = None
    skip_data: float = 0.0


@dataclass(frozen=True)
class Version:
    """The promise that holds from clock position ``at`` on; ``join`` says how it meets the one before."""

    at: float
    clock: Clock
    signals: Mapping[str, Signal]
    join: Literal["jump", "continuous"] = "jump"


@dataclass(frozen=True)
class Contract:
    """A whole contract.

    ``clock`` and ``signals`` are the base version's; ``versions`` holds that one and every later one that
    an amendment made, by increasing ``at``. ``identity`` is what two workers compare.
    """

    experiment: str
    clock: Clock
    signals: Mapping[str, Signal]
    batch: Batch = Batch()
    goal: Goal | None = None
    cost: Cost | None = None
    recording: Recording = Recording()
    tolerance: Tolerance = Tolerance()
    amendments: tuple[Amendment, ...] = ()
    versions: tuple[Version, ...] = ()
    identity: Identity = Identity("", ())
    document: Mapping[str, Any] = field(default_factory=lambda: _EMPTY, compare=False, repr=False)
    source: str = "contract"

    @property
    def horizon(self) -> float | None:
        """The horizon that holds at the end, amendments applied."""
        return self.versions[-1].clock.horizon if self.versions else self.clock.horizon

    @property
    def sha256(self) -> str:
        return self.identity.sha256
