"""What a live scheduler really does: a copy of it, stepped on an optimizer of its own."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.curve import Curve
from lrwatch.importers._parts import Schedule


@dataclass(frozen=True)
class Replay:
    """Values by signal, float64[steps, groups] each; fewer steps where the scheduler refused to go on.

    ``stopped`` is what it said then.
    """

    values: dict[str, NDArray[np.float64]]
    stopped: str = ""

    def __len__(self) -> int:
        return len(self.values["lr"])


def replay(optimizer: Any, scheduler: Any, steps: int) -> Replay:
    """The values of the first ``steps`` updates of a scheduler that has not been stepped yet.

    The copy gets a stand-in for the optimizer with the same groups, so no parameter and no state of the real one is
    copied or touched.
    """
    import torch

    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    stand_in = torch.optim.SGD([{"params": [torch.zeros(1)], **copy.deepcopy(g)} for g in groups], lr=0.0)
    found: dict[str, list[list[float]]] = {"lr": [], "momentum": []}
    stopped = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the stand-in makes no steps, which torch finds suspicious
        twin = copy.deepcopy(scheduler, {id(optimizer): stand_in})
        for _ in range(steps):
            found["lr"].append([float(group["lr"]) for group in stand_in.param_groups])
            found["momentum"].append([_momentum(group) for group in stand_in.param_groups])
            try:
                twin.step()
            except Exception as e:  # whatever a scheduler raises at its end
                stopped = f"{type(e).__name__}: {e}"
                break
    return Replay({name: np.array(rows) for name, rows in found.items()}, stopped)


def _momentum(group: dict[str, Any]) -> float:
    betas = group.get("betas")
    return float(betas[0] if betas else group.get("momentum", 0.0) or 0.0)


def first_difference(schedule: Schedule, values: NDArray[np.float64]) -> tuple[int, float, float] | None:
    """Where the schedule leaves the replayed values, float64[n]: (step, promised, real), else None.

    Allowed are 1e-9 of the value and what torch's own recursion loses (``Curve.slack``).
    """
    curve = Curve(schedule.contract())
    t = np.arange(float(len(values)))
    expected = curve.at(t)
    allowed = (1e-9 + curve.slack(t)) * np.abs(expected) + 1e-12 * float(np.max(np.abs(values), initial=0.0))
    wrong = np.flatnonzero(~(np.abs(values - expected) <= allowed))
    return (int(wrong[0]), float(expected[wrong[0]]), float(values[wrong[0]])) if len(wrong) else None
