"""The expected curve: the only place where base × scale × schedule is multiplied.

    E(t) = base · scale · f(t) · ∏ multipliers(t)

``f`` is the schedule of the version of the contract that holds at t. With ``join: continuous`` a version that
begins at a is bent so that it meets the one before and still ends at its own final value F:

    E(t) = F + (E_new(t) - F) · (E_old(a) - F) / (E_new(a) - F)          t ≥ a

which is what a recursive scheduler does when its horizon is changed in mid-run (for cosine, F = eta_min).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from lrwatch.contract.model import Contract, Phase, Signal, Version
from lrwatch.errors import ContractError
from lrwatch.schedules import families
from lrwatch.schedules import plateau as plateau_family
from lrwatch.schedules.base import FloatArray

_FAMILIES = families()
EPS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Unit roundoff of the types a learning rate is kept in."""
ROUNDINGS = 4.0
"""Operations in a row whose roundings add up in a framework's formula: a rounded base, factor, product and sum."""


@dataclass(frozen=True)
class Metric:
    """A validation value that a plateau schedule reacts to; it acts on rows at clock position ``t`` and later."""

    t: float
    name: str
    value: float


@dataclass(frozen=True)
class Piece:
    """One phase with its numbers made relative to a base: what a family function can evaluate."""

    phase: Phase
    params: Any
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def of(cls, phase: Phase, base: float) -> Piece:
        kinds = {param.name: param.kind for param in _FAMILIES[phase.family].params}
        params = {name: _relative(value, kinds.get(name, ""), base) for name, value in phase.params.items()}
        if phase.length is not None:
            params["length"] = phase.length
        params["after"] = phase.after
        low = -np.inf if phase.low is None else _relative(phase.low, "value", base)
        high = np.inf if phase.high is None else _relative(phase.high, "value", base)
        return cls(phase, MappingProxyType(params), low, high)

    def __call__(self, t: FloatArray, factors: FloatArray | None = None) -> FloatArray:
        phase = self.phase
        local = t - phase.start if phase.start else t
        if local.min(initial=0.0) < 0.0:
            local = np.maximum(local, 0.0)
        if phase.offset:
            local = local + phase.offset
        if phase.stairs is not None:
            local = np.floor(local / phase.stairs) * phase.stairs
        family = _FAMILIES[phase.family]
        params = {**self.params, "factors": factors} if family.stateful else self.params
        values = family.evaluate(local, params)
        return values if phase.low is None and phase.high is None else np.clip(values, self.low, self.high)

    def landmarks(self) -> list[float]:
        """Clock positions worth looking at: where it begins and ends, its length is over, peaks, restarts."""
        phase = self.phase
        local = [*_FAMILIES[phase.family].landmarks(self.params).values(), phase.length or 0.0]
        own = [phase.start, *(phase.start + x - phase.offset for x in local)]
        return own if phase.end is None else [x for x in own if x < phase.end] + [phase.end]


def _relative(value: Any, kind: str, base: float) -> Any:
    """A parameter as family functions want it: values as multiples of the base, schedules as functions."""
    if not isinstance(value, tuple):
        return value
    if kind == "value":
        return value[0] if value[1] else value[0] / base
    if kind == "values":
        return np.array([number if relative else number / base for number, relative in value])
    if kind == "schedules":
        return tuple(partial(_composed, tuple(Piece.of(phase, base) for phase in phases)) for phases in value)
    return value


def _composed(
    pieces: tuple[Piece, ...], t: FloatArray, evaluate: Callable[[Piece, FloatArray], FloatArray] = Piece.__call__
) -> FloatArray:
    """The multiples of the base, float64[n], that phases one after another give at ``t`` float64[n]."""
    if len(pieces) == 1 or not len(t):
        return evaluate(pieces[0], t)
    starts = np.array([p.phase.start for p in pieces])
    low, high = np.searchsorted(starts, (t.min(), t.max()), side="right") - 1
    if low == high:  # most chunks of a long run lie in one phase
        return evaluate(pieces[max(low, 0)], t)
    which = np.searchsorted(starts, t, side="right") - 1
    result = np.empty_like(t)
    for i in range(max(low, 0), high + 1):
        rows = which == i
        result[rows] = evaluate(pieces[i], t[rows])
    return result


class Curve:
    """The expected values of one signal of one group.

    Args:
        contract: the promise. signal: ``lr``, ``weight_decay`` or ``momentum``.
        group: the parameter group's name. rank: the worker, for shifts between workers that the contract declares.

    Example:
        >>> from lrwatch.contract import from_document
        >>> c = from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1.0, "schedule": "constant"}})
        >>> Curve(c).at(np.arange(3.0)).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, contract: Contract, signal: str = "lr", group: str = "0", rank: int = 0):
        if signal not in contract.signals:
            raise ContractError(f"promises nothing for {signal}", source=contract.source, path=signal)
        self.contract, self.signal, self.group, self.rank = contract, signal, group, rank
        self._base_factor = 1.0
        self._change: Callable[[tuple[Phase, ...]], tuple[Phase, ...]] = lambda phases: phases
        self._build(contract.versions)

    def _build(self, versions: Sequence[Version]) -> None:
        self._starts = np.array([v.at for v in versions])
        self._scales: list[float] = []
        self._pieces: list[tuple[Piece, ...]] = []
        self._bends: list[tuple[float, float]] = []
        self._multipliers = [
            (a.at or 0.0, np.inf if a.until is None else a.until, a.multiply[self.signal])
            for a in self.contract.amendments
            if self.signal in a.multiply
        ]
        resolved = [self._resolve(version.signals[self.signal]) for version in versions]
        self._replays = [_Replay(p) for p in _stateful(resolved)]
        for i, (scale, pieces) in enumerate(resolved):
            self._scales.append(scale)
            self._pieces.append(pieces)
            self._bends.append((0.0, 1.0))
            if i and versions[i].join == "continuous":
                self._bends[i] = self._bend(i, versions[i])

    def _resolve(self, signal: Signal) -> tuple[float, tuple[Piece, ...]]:
        group = signal.group(self.group)
        base = (signal.base if group.base is None else group.base) * self._base_factor
        phases = signal.schedule if group.schedule is None else group.schedule
        return base * group.scale, tuple(Piece.of(p, base) for p in self._change(phases))

    def _bend(self, i: int, version: Version) -> tuple[float, float]:
        at = np.array([version.at])
        end = version.clock.horizon
        final = float(self._version(i, np.array([end]))[0]) if end is not None else 0.0
        old, new = float(self._version(i - 1, at)[0]), float(self._version(i, at)[0])
        if new == old:
            return final, 1.0
        if new == final:
            raise ContractError(
                f"cannot join at {version.at:g}: the amended curve is already at its final value there; use join: jump",
                source=self.contract.source,
                path="amendments",
            )
        return final, (old - final) / (new - final)

    # -- evaluation -----------------------------------------------------------------------------

    @property
    def stateful(self) -> bool:
        """Whether values depend on recorded metrics (plateau)."""
        return bool(self._replays)

    @property
    def horizon(self) -> float | None:
        return self.contract.horizon

    @property
    def begins(self) -> float:
        """The clock position of the schedule's first value: 0, or less where the contract shifts the worker ahead."""
        return -self.contract.signals[self.signal].shifted(self.rank)

    def next(self, clock: FloatArray, metrics: Sequence[Metric] = ()) -> FloatArray:
        """Expected values at clock positions ``clock`` float64[n], after taking in new ``metrics``.

        Metrics are given once, in order, before the first rows that they can act on. Going back on the
        clock (a rollback) forgets the metrics that came after the new position, except those that were known
        beforehand: given with an empty ``clock``.
        """
        for replay in self._replays:
            if len(clock):
                replay.rewind(float(clock[0]))
            for metric in metrics:
                replay.take(metric)
            if not len(clock):
                replay.known = len(replay.history)
        return self.at(clock)

    def at(self, t: FloatArray) -> FloatArray:
        """Expected values, float64[n], absolute, at clock positions ``t`` float64[n] (before ``begins`` as there)."""
        t = np.maximum(np.asarray(t, dtype=np.float64) - self.begins, 0.0)
        if len(self._starts) == 1:
            values = self._version(0, t)
        else:
            which = np.searchsorted(self._starts, t, side="right") - 1
            values = np.empty_like(t)
            for i in np.unique(which):
                rows = which == i
                values[rows] = self._version(int(i), t[rows])
        for start, end, factor in self._multipliers:
            values = np.where((t >= start) & (t < end), values * factor, values)
        return values

    def _version(self, i: int, t: FloatArray) -> FloatArray:
        values = self._scales[i] * _composed(self._pieces[i], t, self._piece)
        final, bend = self._bends[i]
        return values if bend == 1.0 else final + (values - final) * bend

    def _piece(self, piece: Piece, t: FloatArray) -> FloatArray:
        if not _FAMILIES[piece.phase.family].stateful:
            return piece(t)
        own = (r for r in self._replays if r.piece.phase.start == piece.phase.start)
        return piece(t, next(own, self._replays[-1]).factors(t))

    # -- what else is known about it ---------------------------------------------------------------

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that hold at the end."""
        return tuple(p.phase for p in self._pieces[-1])

    def marks(self) -> list[float]:
        """Clock positions worth looking at: landmarks of every phase, and where amended versions begin."""
        return [*(x for pieces in self._pieces for p in pieces for x in p.landmarks()), *map(float, self._starts)]

    def peak(self) -> float:
        """The largest expected value up to the horizon (sampled at 4,096 points, phase borders and landmarks)."""
        marks = self.marks()
        end = self.horizon or max([*marks, 1.0]) * 2.0
        within = [x for x in marks if x <= end]
        return float(np.max(self.at(np.concatenate([np.linspace(0.0, end, 4096), np.array(within)]))))

    def slack(self, t: FloatArray) -> FloatArray:
        """Relative error that the trainer's own arithmetic may have, float64[n].

        For a type narrower than float64: its unit roundoff; times the steps taken so far where the scheduler is
        recursive. For torch's recursive cosine past T_max with eta_min > 0: eps·η/(base-η)·(2T/π)².
        """
        signal = self.contract.signals[self.signal]
        eps = EPS[signal.dtype]
        slack = np.full(t.shape, 0.0 if signal.dtype == "float64" else eps)
        if signal.recursive and signal.dtype != "float64":
            slack = eps * np.maximum(t, 1.0)
        for piece in self._pieces[-1]:
            phase, low = piece.phase, piece.params.get("to", 0.0)
            if phase.family == "cosine" and phase.after == "mirror" and phase.length and 0.0 < low < 1.0:
                past = t > phase.start + phase.length
                slack = np.where(past, slack + eps * low / (1.0 - low) * (2.0 * phase.length / np.pi) ** 2, slack)
        return slack

    def blur(self, t: FloatArray, expected: FloatArray, peak: float) -> FloatArray:
        """Absolute error that a framework which computes in float32 may make besides, float64[n]; 0 in other types.

            4·u·(|E| + peak) + 2·min(|E(t⁺) - E(t)|, |E(t⁻) - E(t)|)          u = 2⁻²⁴, t⁺, t⁻ = t·(1 ± 2u)

        Four roundings of values as large as the peak are felt where they cancel, at the end of a cosine; what is done
        to the step (t/T, its logarithm, π times it) moves it by a rounding or two. The smaller of the moves to either
        side, so that a jump excuses nothing.
        """
        if self.contract.signals[self.signal].dtype != "float32":
            return np.zeros(t.shape)
        unit = EPS["float32"]
        sides = [np.abs(self.at(t * (1.0 + side * 2.0 * unit)) - expected) for side in (-1, 1)]
        blur: FloatArray = ROUNDINGS * unit * (np.abs(expected) + peak) + 2.0 * np.minimum(*sides)
        return blur

    def with_base(self, factor: float) -> Curve:
        """The same curve on ``factor`` × the base; values that the contract gives absolutely (floors) stay."""
        return self._variant(self._base_factor * factor, self._change)

    def with_phases(self, change: Callable[[tuple[Phase, ...]], tuple[Phase, ...]]) -> Curve:
        """The same curve with its phases changed."""
        return self._variant(self._base_factor, lambda phases: change(self._change(phases)))

    def with_last_phase(self, **changes: Any) -> Curve:
        """The same curve with fields of its last phase replaced, e.g. ``length=8000.0`` or ``after="mirror"``."""
        return self.with_phases(lambda phases: (*phases[:-1], replace(phases[-1], **changes)))

    def _variant(self, factor: float, change: Callable[[tuple[Phase, ...]], tuple[Phase, ...]]) -> Curve:
        other = Curve.__new__(Curve)
        other.__dict__.update(self.__dict__)
        other._base_factor, other._change = factor, change
        other._build(self.contract.versions)
        if self._replays:  # what was replayed so far belongs to the run, not to the variant
            other._replays = self._replays
        return other


def _stateful(versions: Sequence[tuple[float, tuple[Piece, ...]]]) -> list[tuple[Piece, float]]:
    """Stateful pieces as the newest version has them, with the absolute base their state lives on."""
    found: dict[float, tuple[Piece, float]] = {}
    for scale, pieces in versions:
        found |= {p.phase.start: (p, scale) for p in pieces if _FAMILIES[p.phase.family].stateful}
    return list(found.values())


class _Replay:
    """The factor of a plateau schedule over the clock, replayed from recorded metrics."""

    def __init__(self, piece: tuple[Piece, float]):
        self.piece, self.base = piece
        self.metric = str(self.piece.params["metric"])
        self.history: list[tuple[float, plateau_family.PlateauState]] = [(-np.inf, plateau_family.PlateauState())]
        self.known = 1
        """How much of the history was known beforehand."""

    def take(self, metric: Metric) -> None:
        if metric.name == self.metric:
            self.rewind(metric.t, known=1)  # the run that recorded it had gone back
            state = plateau_family.replay(self.history[-1][1], self.piece.params, metric.value, self.base)
            self.history.append((metric.t, state))

    def rewind(self, t: float, known: int | None = None) -> None:
        while len(self.history) > (self.known if known is None else known) and self.history[-1][0] > t:
            self.history.pop()

    def factors(self, t: FloatArray) -> FloatArray:
        positions = np.array([h[0] for h in self.history])
        values = np.array([h[1].factor for h in self.history])
        return values[np.searchsorted(positions, t, side="right") - 1]
