"""Least squares where most parameters are linear: the few others are searched, the linear ones follow from them.

    y ≈ B(x)·c        x: lengths, powers, …  c: values        |B·c - y| ≤ allowed in every row is a fit

(variable projection: Golub and Pereyra, 1973). All residuals here are in units of what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lrwatch.schedules.base import FloatArray

Basis = Callable[[FloatArray], FloatArray]
"""x float64[k] → columns float64[n, m]."""
ITERATIONS: Final = 40
ENOUGH: Final = 1e-4
DIGITS: Final = 15
EVENING: Final = 60
LENIENT: Final = (1.0, 1.2, 1.6, 2.5)
SHIFT: Final = 1e-6
"""Relative step of numerical derivatives."""


@dataclass(frozen=True)
class Solution:
    """x float64[k], c float64[m], and the largest residual in units of what is allowed."""

    x: FloatArray
    c: FloatArray
    worst: float

    @property
    def fits(self) -> bool:
        return self.worst <= 1.0


@dataclass(frozen=True)
class Problem:
    """Rows to be explained: values and what is allowed of each, float64[n]."""

    y: FloatArray
    allowed: FloatArray

    def linear(self, columns: FloatArray, fixed: dict[int, float] | None = None) -> tuple[FloatArray, FloatArray]:
        """c float64[m] and residuals float64[n]; coefficients in ``fixed`` are given."""
        fixed = fixed or {}
        free = [i for i in range(columns.shape[1]) if i not in fixed]
        c = np.array([fixed.get(i, 0.0) for i in range(columns.shape[1])])
        left = self.y - columns @ c
        if free:
            weighted = columns[:, free] / self.allowed[:, None]
            size = np.linalg.norm(weighted, axis=0)
            size[size == 0.0] = 1.0
            c[free] = np.linalg.lstsq(weighted / size, left / self.allowed, rcond=1e-13)[0] / size
        return c, (columns @ c - self.y) / self.allowed

    def at(self, basis: Basis, x: FloatArray, fixed: dict[int, float] | None = None) -> Solution:
        """The best values for these x."""
        with np.errstate(all="ignore"):
            columns = basis(x)
        if not np.isfinite(columns).all():
            return Solution(x, np.zeros(columns.shape[1]), np.inf)
        c, residuals = self.linear(columns, fixed)
        return Solution(x, c, float(np.abs(residuals).max(initial=0.0)))

    def search(self, basis: Basis, start: FloatArray) -> Solution:
        """From ``start`` (each > 0) downhill: Levenberg-Marquardt in the logarithms of x."""
        x, damping = np.asarray(start, dtype=np.float64), 1e-3
        residuals = self._residuals(basis, x)
        cost = float(residuals @ residuals)
        for _ in range(ITERATIONS if len(x) else 0):
            if not np.isfinite(cost) or np.abs(residuals).max(initial=0.0) < ENOUGH:
                break
            slopes = self._slopes(basis, x, residuals)
            if not np.isfinite(slopes).all():
                break
            normal, pull = slopes.T @ slopes, slopes.T @ residuals
            for _ in range(12):
                move = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal) + 1e-300), -pull, rcond=None)[0]
                there = x * np.exp(np.clip(move, -1.0, 1.0))
                new = self._residuals(basis, there)
                better = float(new @ new)
                if better < cost:
                    break
                damping *= 5.0
            else:
                break
            gain, x, residuals, cost, damping = 1.0 - better / cost, there, new, better, damping / 10.0
            if gain < 1e-5:
                break
        return self.at(basis, x)

    def _residuals(self, basis: Basis, x: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            columns = basis(x)
        return self.linear(columns)[1] if np.isfinite(columns).all() else np.full(len(self.y), np.inf)

    def _slopes(self, basis: Basis, x: FloatArray, residuals: FloatArray) -> NDArray[np.float64]:
        slopes = np.empty((len(self.y), len(x)))
        for i in range(len(x)):
            near = x.copy()
            near[i] *= 1.0 + SHIFT
            slopes[:, i] = (self._residuals(basis, near) - residuals) / SHIFT
        return slopes

    def freedom(self, basis: Basis, found: Solution) -> tuple[FloatArray, FloatArray]:
        """How far each of x and each of c may be off, float64[k] and float64[m], to first order.

        Two sets of parameters that give every row within what is allowed differ by no more than this: the sum of the
        absolute values of each row of the pseudo-inverse of the derivatives. Infinite where nothing holds a parameter.
        """
        columns = basis(found.x)
        slopes = [columns]
        for i, value in enumerate(found.x):
            near = found.x.copy()
            near[i] = value * (1.0 + SHIFT)
            slopes.append(((basis(near) - columns) @ found.c / (SHIFT * value))[:, None])
        jacobian = np.concatenate(slopes, axis=1) / self.allowed[:, None]
        size = np.linalg.norm(jacobian, axis=0)
        size[size == 0.0] = 1e-300
        scaled = jacobian / size
        if np.linalg.matrix_rank(scaled, tol=1e-9) < scaled.shape[1]:
            loose = np.full(scaled.shape[1], np.inf)
        else:
            loose = np.abs(np.linalg.pinv(scaled, rcond=1e-12)).sum(axis=1) / size
        m = columns.shape[1]
        return loose[m:], loose[:m]

    def plainest(self, basis: Basis, found: Solution) -> Solution:
        """The same fit with the fewest digits in each number: x first, then c.

        Least squares need not keep the largest deviation smallest, so a little more is let pass on the way, as long as
        the end fits.
        """
        for lenient in LENIENT:
            if found.worst <= lenient:
                short = self._shortened(basis, found, lenient)
                if short.fits:
                    return short
        if found.fits or found.worst > LENIENT[-1]:
            return found
        even = self.evened(basis, found)
        return self.plainest(basis, even) if even.fits else even

    def evened(self, basis: Basis, found: Solution) -> Solution:
        """The fit with its largest deviation made smaller: rows that deviate more weigh more (Lawson, 1961)."""
        best, x, weight = found, found.x, np.ones(len(self.y))
        c = found.c
        for _ in range(EVENING):
            off = np.abs(basis(x) @ c - self.y) / self.allowed
            worst = float(off.max())
            best = Solution(x, c, worst) if worst < best.worst else best
            if best.worst < 0.9995 or not np.isfinite(worst) or worst == 0.0:
                break
            weight = np.maximum(weight * off / worst, 1e-9)
            weight /= weight.max()
            solution = Problem(self.y, self.allowed / np.sqrt(weight)).search(basis, x)
            x, c = solution.x, solution.c
        return best

    def _shortened(self, basis: Basis, found: Solution, limit: float) -> Solution:
        x = self._short_x(basis, found, limit)
        fixed: dict[int, float] = {}
        best = self.at(basis, x)
        for i in np.argsort(-np.abs(best.c)).tolist():
            zero = [0.0] if abs(best.c[i]) < 1e-3 * np.abs(best.c).max() else []
            for candidate in (*zero, *shorter(best.c[i])):
                tried = self.at(basis, x, {**fixed, i: candidate})
                if tried.worst <= limit:
                    best, fixed = tried, {**fixed, i: candidate}
                    break
        return best

    def _short_x(self, basis: Basis, found: Solution, limit: float) -> FloatArray:
        x = found.x.copy()
        if not len(x):
            return x
        for digits in range(1, DIGITS + 1):  # most often they are round together
            rounded = np.array([float(f"{v:.{digits}g}") for v in x])
            if self.at(basis, rounded).worst <= limit:
                x = rounded
                break
        for i in range(len(x)):
            for candidate in shorter(x[i])[:-1]:
                near = x.copy()
                near[i] = candidate
                tried = self.search_rest(basis, near, i)
                if tried.worst <= limit:
                    x = tried.x
                    break
        return x

    def search_rest(self, basis: Basis, x: FloatArray, kept: int) -> Solution:
        """The best fit with one of x kept."""
        if len(x) == 1:
            return self.at(basis, x)
        free = [i for i in range(len(x)) if i != kept]

        def rest(part: FloatArray) -> FloatArray:
            whole = x.copy()
            whole[free] = part
            return basis(whole)

        part = self.search(rest, x[free])
        whole = x.copy()
        whole[free] = part.x
        return Solution(whole, part.c, part.worst)


def shorter(value: float) -> list[float]:
    """The value to 1, 2, … significant digits, without repetition.

    >>> shorter(0.02999999)
    [0.03, 0.02999999]
    """
    return list(dict.fromkeys(float(f"{value:.{digits}g}") for digits in range(1, DIGITS + 1)))
