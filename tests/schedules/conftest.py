from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lrwatch.contract import from_document
from lrwatch.curve import Curve


def _curve(schedule: Any, base: float = 1.0, horizon: float | None = None) -> Curve:
    clock = {} if horizon is None else {"horizon": horizon}
    tree = {"lrwatch": 1, "experiment": "x", "clock": clock, "lr": {"base": base, "schedule": schedule}}
    return Curve(from_document(tree))


@pytest.fixture(scope="session")
def curve() -> Callable[..., Curve]:
    """``curve(schedule, base=1.0, horizon=None)``: the curve that a contract with this schedule promises."""
    return _curve
