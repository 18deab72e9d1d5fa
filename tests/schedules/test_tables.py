"""Values worked out by hand, family by family: ``tables/<family>.yaml``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lrwatch.curve import Curve, Metric
from lrwatch.schedules import families

TABLES = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "tables").glob("*.yaml")}
CASES = [pytest.param(case, id=f"{name}-{i}") for name in sorted(TABLES) for i, case in enumerate(TABLES[name])]


def test_every_family_has_a_table() -> None:
    assert sorted(TABLES) == sorted(families())


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_is_about_its_family_and_looks_past_the_first_value(name: str) -> None:
    for case in TABLES[name]:
        phases = case["schedule"] if isinstance(case["schedule"], list) else [case["schedule"]]
        assert any(name in phase for phase in phases)
    assert max(t for case in TABLES[name] for t, _ in case["points"]) > 0


@pytest.mark.parametrize("case", CASES)
def test_values_by_hand(case: dict[str, Any], curve: Callable[..., Curve]) -> None:
    base = float(case["base"])
    expected = curve(case["schedule"], base, case.get("horizon"))
    if "metrics" in case:
        name = next(iter(case["schedule"].values()))["metric"]
        metrics = [Metric(i + 1.0, name, float(value)) for i, value in enumerate(case["metrics"])]
        expected.next(np.empty(0), metrics)
    for t, value in case["points"]:
        assert expected.at(np.array([float(t)]))[0] == pytest.approx(value, rel=1e-12, abs=1e-15 * base), f"at t = {t}"
