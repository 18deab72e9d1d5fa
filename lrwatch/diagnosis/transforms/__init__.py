"""Transforms of the expected curve that real bugs amount to, each with its fit.

A transform takes a case and yields hypotheses worth testing; ``diagnose`` tests them on every row. They come in two
tiers: first what a wrong number of steps, a bad resume, a wrong number or a wrong plan does; only when none of these
reproduces the curve, changes of its shape, which have more freedom.
"""

from __future__ import annotations

from lrwatch.diagnosis.transforms import numbers, planning, resume, shape, stepping, workers
from lrwatch.diagnosis.transforms.base import Transform

FIRST: tuple[Transform, ...] = (
    *workers.TRANSFORMS,
    *resume.TRANSFORMS,
    *stepping.TRANSFORMS,
    *numbers.TRANSFORMS,
    *planning.TRANSFORMS,
)
"""In the order in which they are preferred when several fit."""

BY_STEPS: tuple[Transform, ...] = (*resume.TRANSFORMS, *stepping.TRANSFORMS)
"""Those that say where the scheduler stands."""

SECOND: tuple[Transform, ...] = shape.TRANSFORMS

THIRD: tuple[Transform, ...] = workers.LAST
