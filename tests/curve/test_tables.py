"""The expected curve against values written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lrwatch.contract import from_document
from lrwatch.curve import Curve

CASES = yaml.safe_load((Path(__file__).parent / "tables.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_table(case: dict[str, Any]) -> None:
    contract = from_document({"lrwatch": 1, "experiment": "x", "lr": case["lr"], **case.get("more", {})})
    t = np.array(case.get("t", np.arange(len(case["values"]))), dtype=np.float64)
    curve = Curve(contract, group=case.get("group", "0"))
    assert curve.at(t).tolist() == pytest.approx(case["values"], rel=1e-14, abs=1e-15)
    assert np.array_equal([curve.at(t[i : i + 1])[0] for i in range(len(t))], curve.at(t))
    assert np.array_equal(curve.at(t[::-1])[::-1], curve.at(t))
