"""Recorders for small real trainings, and a look that no watch is left running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lrwatch.agent import process
from lrwatch.agent.origin import Locator
from lrwatch.agent.recorder import Recorder
from tests.agent.helpers import Training


@pytest.fixture
def training() -> Training:
    return Training()


@pytest.fixture
def record() -> Callable[..., Recorder]:
    """``record(optimizer, scheduler=, scaler=, …)``: a recorder without a worker."""

    def make(optimizer: Any, **given: Any) -> Recorder:
        options: dict[str, Any] = {
            "scheduler": None,
            "scaler": None,
            "name": lambda i, g: str(g.get("name") or i),
            "companions": {},
            "locate": Locator(optimizer).locate,
        }
        return Recorder(optimizer, **{**options, **given})

    return make


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    left = process.members()
    for watch in left:
        watch._close("stopped")
    assert not left, "a test left a watch running"
