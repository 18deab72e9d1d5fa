"""What the contract expects of a worker's rows: positions, values and how far off they may be."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from lrwatch.checks.base import Batch
from lrwatch.contract.clock import needs, positions, shown_after
from lrwatch.contract.model import Contract
from lrwatch.curve import Curve, Metric
from lrwatch.errors import NotCheckable
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import EXACT_DIGITS, Precision, precision
from lrwatch.trace.model import Chunk, Event


class Expectation:
    """The curves of one worker, unrolled along its rows.

    Args:
        contract: the promise, None where nothing is promised. metrics: validation values known beforehand; those of
            the worker's own events are not used then.

    Attributes:
        curves: column name → its curve; peaks: column name → the curve's largest value.
        loosest: smallest relative and largest absolute tolerance of any row so far.
    """

    def __init__(self, contract: Contract | None, metrics: Sequence[Metric] = ()):
        self.contract = contract
        self.curves: dict[str, Curve] = {}
        self.peaks: dict[str, float] = {}
        self.loosest = (np.inf, 0.0)
        self._given = tuple(metrics)
        self._recorded: list[tuple[str, float]] = []

    def event(self, event: Event) -> None:
        """Take in a validation: a plateau schedule goes by it."""
        if event.kind == "validation":
            values = event.fields.get("metrics") or {}
            self._recorded.extend((str(k), float(v)) for k, v in values.items() if isinstance(v, (int, float)))

    def batch(self, chunk: Chunk) -> Batch:
        """The chunk with positions, expectations and tolerances."""
        if self.contract is None:
            return Batch(chunk)
        try:
            where = shown_after if chunk.lr_read == "after" else positions
            t = where(self.contract, chunk.columns)
            for name in needs(self.contract, chunk.columns):
                if not chunk.present(name).all():
                    return Batch(chunk, why_no_t=f"`{name}`, which the clock counts, is missing in some rows")
        except NotCheckable as e:
            return Batch(chunk, why_no_t=str(e))
        metrics = [Metric(float(t[0]), name, value) for name, value in self._recorded] if len(t) else []
        self._recorded.clear()
        expected: dict[str, FloatArray] = {}
        precisions: dict[str, Precision] = {}
        allowed: dict[str, FloatArray] = {}
        curves: dict[str, Curve] = {}
        for signal in self.contract.signals:
            for group in chunk.signals(signal):
                name = f"{signal}/{group}"
                curves[name] = self._curve(self.contract, name, chunk.rank)
                expected[name] = curves[name].next(t, () if self._given else metrics)
                precisions[name] = self._precision(self.contract, name, chunk, t, expected[name])
                allowed[name] = precisions[name].allowed(expected[name])
                self._loosen(allowed[name], expected[name])
        return Batch(
            chunk,
            t,
            expected=MappingProxyType(expected),
            precision=MappingProxyType(precisions),
            allowed=MappingProxyType(allowed),
            curves=MappingProxyType(curves),
        )

    def _curve(self, contract: Contract, name: str, rank: int) -> Curve:
        if name not in self.curves:
            signal, _, group = name.partition("/")
            curve = Curve(contract, signal, group, rank)
            curve.next(np.empty(0), self._given)
            self.curves[name], self.peaks[name] = curve, curve.peak()
        return self.curves[name]

    def _precision(self, contract: Contract, name: str, chunk: Chunk, t: FloatArray, expected: FloatArray) -> Precision:
        curve, peak = self.curves[name], self.peaks[name]
        return precision(
            peak,
            contract.tolerance,
            slack=curve.slack(t),
            blur=curve.blur(t, expected, peak),
            quantum=chunk.quantum.get(name, 0.0),
            digits=chunk.digits.get(name, EXACT_DIGITS),
        )

    def _loosen(self, allowed: FloatArray, expected: FloatArray) -> None:
        """Take in how far these values may be off, float64[n] each."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            relative = allowed / np.abs(expected)  # infinite or NaN at 0, where nothing is relative
        tightest = float(np.fmin.reduce(relative, initial=self.loosest[0]))
        self.loosest = (tightest, max(self.loosest[1], float(allowed.max())))
