"""Traces of known schedules: what is recovered, to the digit, and what a trace cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.infer import Inference, infer
from lrwatch.trace.model import Chunk, Event, Item, TraceInfo
from lrwatch.verify import verify

N = 600
BASE = 3e-4
WARM = "{linear: {from: 0, for: 60}}"


class Trace:
    """One chunk of rows, as a reader would give it."""

    rereadable = True
    info = TraceInfo(("trace",), "made")

    def __init__(self, columns: dict[str, np.ndarray], digits: int = 17, events: tuple[Event, ...] = ()):
        names = {f"lr/{group}": values for group, values in columns.items()}
        rows = len(next(iter(columns.values())))
        self.items: tuple[Item, ...] = (
            *events,
            Chunk({"update": np.arange(rows), **names}, digits=dict.fromkeys(names, digits)),
        )

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def values(schedule: str, n: int = N, base: float = BASE) -> np.ndarray:
    tree = {"lrwatch": 1, "experiment": "", "clock": {"horizon": N},
            "lr": {"base": base, "schedule": yaml.safe_load(schedule)}}  # fmt: skip
    return Curve(from_document(tree)).at(np.arange(float(n)))


def rounded(y: np.ndarray, digits: int) -> np.ndarray:
    return np.array([float(f"{v:.{digits - 1}e}") for v in y])


def recovered(found: Inference) -> Any:
    return found.document["lr"]["schedule"]


def kept(found: Inference, trace: Trace) -> bool:
    """Whether the inferred contract verifies as pass on its own trace."""
    return verify(found.contract(), trace, only=["drift"]).result.verdict() == "pass"


CANONICAL = [
    "[{linear: {to: 0, until: horizon}}]",
    "[{linear: {from: 3.0e-05, for: 150}}, {linear: {to: 3.0e-05, for: 300}}]",
    "[{cosine: {to: 3.0e-05, until: horizon}}]",
    f"[{WARM}, {{cosine: {{to: 3.0e-05, until: horizon}}}}]",
    f"[{WARM}, {{cosine: {{to: 3.0e-05, for: 1500}}}}]",
    f"[{WARM}, {{cosine: {{for: 150, after: mirror}}}}]",
    "[{linear: {from: 0, for: 60, offset: 1}}, {cosine: {until: horizon}}]",
    "[{linear: {from: 0, for: 60, offset: 1, over: 61}}, {cosine: {until: horizon}}]",
    "[{linear: {from: 3.0e-06, for: 60}}, {cosine: {offset: 60, over: 600}}]",
    "[{cosine_restarts: {multiply: 2, period: 90, to: 3.0e-06}}]",
    f"[{WARM}, {{cosine_restarts: {{period: 90, decay: 0.7, to: 3.0e-06}}}}]",
    "[{step: {every: 90, gamma: 0.5}}]",
    f"[{WARM}, {{step: {{every: 90, gamma: 0.1}}}}]",
    f"[{WARM}, {{multi_step: {{milestones: [90, 210, 360], gamma: 0.1}}}}]",
    "[{exponential: {gamma: 0.999}}]",
    f"[{WARM}, {{exponential: {{gamma: 0.995}}}}]",
    "[{polynomial: {power: 2, to: 1.0e-07, for: 450}}]",
    f"[{WARM}, {{polynomial: {{power: 0.9, to: 1.0e-06, until: horizon}}}}]",
    f"[{WARM}, {{inverse_sqrt: {{timescale: 60}}}}]",
    "[{one_cycle: {peak_at: 0.3, from: 1.2e-05, to: 1.2e-09, until: horizon}}]",
    "[{one_cycle: {anneal: linear, three_phase: true, peak_at: 0.25, from: 1.2e-05, to: 1.2e-09, for: 500}}]",
    "[{triangular: {up: 75, to: 0.006}}]",
    "[{triangular: {up: 75, down: 120, to: 0.006}}]",
    "[{triangular2: {up: 75, to: 0.006}}]",
    "[{exp_range: {up: 75, gamma: 0.9995, to: 0.006}}]",
    f"[{WARM}, {{constant: {{for: 390}}}}, {{linear: {{to: 0, until: horizon}}}}]",
    f"[{WARM}, {{constant: {{for: 340}}}}, {{cosine: {{to: 3.0e-05, for: 150}}}}]",
    f"[{WARM}, {{constant: {{for: 390}}}}, {{k_decay: {{shape: polynomial, k: 0.5, until: horizon}}}}]",
    f"[{WARM}, {{constant: {{for: 390}}}}, {{k_decay: {{shape: exponential, until: horizon}}}}]",
    "[{tanh: {to: 1.0e-05, until: horizon}}]",
    "[{inverse_power: {timescale: 150, power: 1}}]",
    "[{k_decay: {shape: cosine, k: 1.5, until: horizon}}]",
]


SLOW = (10, 13, 17, 20, 26, 27, 28)
"""What is searched the longest and has a quicker relative in the list, which is tried in every run."""


@pytest.mark.parametrize(
    "schedule", [pytest.param(s, marks=[pytest.mark.long] * (i in SLOW)) for i, s in enumerate(CANONICAL)]
)
def test_noiseless_traces_give_the_schedule_back(schedule: str) -> None:
    trace = Trace({"0": values(schedule)})
    found = infer(trace)
    assert recovered(found) == yaml.safe_load(schedule)
    assert found.document["lr"]["base"] == BASE
    assert found.verdict == "explained"
    assert kept(found, trace)


FOUR = [CANONICAL[i] for i in (0, 1, 3, 14, 21)]
FOUR_MORE = [CANONICAL[i] for i in (2, 4, 9, 12, 13, 16, 17, 19, 22, 24, 26, 27, 31)]


@pytest.mark.parametrize("schedule", [*FOUR, *(pytest.param(s, marks=pytest.mark.long) for s in FOUR_MORE)])
def test_four_digits_give_it_back_too(schedule: str) -> None:
    trace = Trace({"0": rounded(values(schedule), 4)}, digits=4)
    found = infer(trace)
    assert recovered(found) == yaml.safe_load(schedule)
    assert kept(found, trace)


@pytest.mark.parametrize("schedule", [CANONICAL[i] for i in (3, 9, 18, 19)])
def test_float32_values_are_taken_as_such(schedule: str) -> None:
    trace = Trace({"0": values(schedule).astype(np.float32).astype(np.float64)})
    found = infer(trace)
    assert recovered(found) == yaml.safe_load(schedule)
    assert found.document["lr"]["dtype"] == "float32"
    assert kept(found, trace)


@pytest.mark.parametrize(("warmup", "gamma"), [(60, 0.995), (20, 0.9987)])
def test_three_digits_are_enough_for_an_exponential_after_a_warm_up(warmup: int, gamma: float) -> None:
    schedule = f"[{{linear: {{from: 0, for: {warmup}}}}}, {{exponential: {{gamma: {gamma}}}}}]"
    trace = Trace({"0": rounded(values(schedule), 3)}, digits=3)
    found = infer(trace)
    assert recovered(found) == yaml.safe_load(schedule)
    assert found.verdict == "explained"
    assert kept(found, trace)


def test_a_warm_up_to_somewhere_else_takes_one_number_more() -> None:
    """Every 50th row hides that the line ends at 1000; that it overshoots to 1050 and drops is no equal story."""
    t = np.arange(0.0, 20000.0, 50.0)
    y = rounded(5e-5 * np.where(t < 1000, t / 1000, 0.9999 ** (t - 1000)), 3)
    trace = Trace({"0": y}, digits=3)
    trace.items = (Chunk({"update": t.astype(np.int64), "lr/0": y}, digits={"lr/0": 3}),)
    found = infer(trace)
    assert recovered(found) == [{"linear": {"from": 0, "for": 1000}}, {"exponential": {"gamma": 0.9999}}]
    assert found.verdict == "explained"


@pytest.mark.long
def test_three_digits_leave_a_length_uncertain_and_say_by_how_much() -> None:
    y = rounded(values(f"[{WARM}, {{cosine: {{to: 3.0e-05, for: 1500}}}}]"), 3)
    found = infer(Trace({"0": y}, digits=3))
    numbers = {name: (value, off) for name, value, off in found.groups[0].best.loose}
    value, off = numbers["length"]
    assert abs(value - 1500.0) <= off
    assert off > 1.0


def test_stairs_of_an_epoch_are_read_in_epochs() -> None:
    y = np.repeat(values("[{linear: {from: 0, for: 6}}, {cosine: {for: 54}}]", 60), 25)
    trace = Trace({"0": y})
    found = infer(trace)
    assert found.document["clock"] == {"axis": "epoch", "horizon": 60}
    assert found.document["batch"] == {"steps_per_epoch": 25}
    assert recovered(found) == [{"linear": {"from": 0, "for": 6}}, {"cosine": {"until": "horizon"}}]
    assert kept(found, trace)


def test_groups_are_multiples_or_have_schedules_of_their_own() -> None:
    lead = values(f"[{WARM}, {{cosine: {{until: horizon}}}}]")
    trace = Trace({"body": lead, "head": 10.0 * lead, "same": lead, "frozen": np.full(N, 0.01)})
    found = infer(trace)
    assert found.document["lr"]["groups"] == {
        "head": {"scale": 10},
        "frozen": {"base": 0.01, "schedule": [{"constant": {}}]},
    }
    assert kept(found, trace)


@pytest.mark.parametrize(
    ("schedule", "n", "said", "expected"),
    [
        ("constant", N, "the learning rate never changed", [{"constant": {}}]),
        (f"[{WARM}, {{constant: {{}}}}]", N, "after the warm-up the learning rate never changed",
         [{"linear": {"from": 0, "for": 60}}, {"constant": {}}]),
        (f"[{WARM}, {{cosine: {{until: horizon}}}}]", 40, "only a rising straight line was seen",
         [{"linear": {"from": 0, "for": 40}}]),
        ("[{linear: {to: 0, until: horizon}}]", 300, "where it ends, the trace does not show",
         [{"linear": {"to": 0.00015, "for": 300}}]),
        (f"[{WARM}, {{linear: {{to: 0, until: horizon}}}}]", 330, "where the decay ends, the trace does not show",
         [{"linear": {"from": 0, "for": 60}}, {"linear": {"to": 0.00015, "for": 270}}]),
    ],
)  # fmt: skip
def test_what_was_not_seen_is_not_invented(schedule: str, n: int, said: str, expected: Any) -> None:
    trace = Trace({"0": values(schedule, n)})
    found = infer(trace)
    assert found.verdict == "cannot tell"
    assert said in found.groups[0].best.unknown[0]
    assert found.horizon is None
    assert recovered(found) == expected
    assert kept(found, trace)


def test_one_drop_may_be_the_first_of_many() -> None:
    found = infer(Trace({"0": values("[{step: {every: 400, gamma: 0.1}}]")}))
    assert found.verdict == "cannot tell"
    families = {found.groups[0].best.family, *(e.family for e in found.groups[0].rivals)}
    assert families == {"step", "multi_step"}


def test_drops_beside_validations_may_be_a_plateau() -> None:
    from lrwatch.report._infer import sentences

    validation = Event("validation", 10, fields={"metrics": {"val_loss": 2.0}})
    y = values("[{multi_step: {milestones: [90, 210, 360], gamma: 0.5}}]")
    found = infer(Trace({"0": y}, events=(validation,)))
    assert recovered(found) == [{"multi_step": {"milestones": [90, 210, 360], "gamma": 0.5}}]
    assert any("a plateau that reacts to val_loss could have made the same drops" in text for text in sentences(found))


def test_a_curve_of_no_family_is_said_to_be_of_none() -> None:
    y = BASE * (1.2 + np.sin(np.arange(N) / 17.0) * np.cos(np.arange(N) ** 1.3 / 90.0))
    found = infer(Trace({"0": y}))
    assert found.verdict == "unexplained"
    assert found.groups[0].explained < N


def test_levels_of_no_ratio_become_a_table() -> None:
    y = np.repeat([1e-3, 4e-4, 3e-4, 1e-5], [100, 130, 270, 100])
    trace = Trace({"0": y})
    found = infer(trace)
    assert recovered(found) == [{"table": {"values": [0.001, 0.0004, 0.0003, 1e-05], "at": [0, 100, 230, 500]}}]
    assert kept(found, trace)


def test_a_rollback_counts_once_and_a_stepwise_log_will_do() -> None:
    y = values(f"[{WARM}, {{cosine: {{to: 3.0e-05, until: horizon}}}}]")
    chunk = Chunk({"update": np.r_[0:300:10, 200:600:10], "lr/0": np.r_[y[0:300:10], y[200:600:10]]})
    trace = Trace({"0": y})
    trace.items = (chunk,)
    found = infer(trace)
    assert found.groups[0].rows == 60
    assert recovered(found)[0] == {"linear": {"from": 0, "for": 60}}
    assert recovered(found)[1]["cosine"]["to"] == 3e-05


@pytest.mark.parametrize(
    "schedule",
    [
        "[{linear: {from: 0, for: 2001}}, {cosine: {to: 3.0e-05, for: 37999}}]",
        "[{multi_step: {milestones: [9001, 18003], gamma: 0.1}}]",
    ],
)
def test_of_a_long_run_a_bounded_number_of_rows_is_looked_at(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrwatch.infer._rows.MOST", 2000)
    y = values(schedule, 40_000)
    trace = Trace({"0": y})
    trace.items = tuple(
        Chunk({"update": np.arange(a, a + 500), "lr/0": y[a : a + 500]}, rank=rank)
        for a in range(0, 40_000, 500)
        for rank in (1, 0)
    )
    found = infer(trace)
    assert found.groups[0].rows <= 4500
    expected = schedule.replace("for: 37999", "until: horizon")
    assert recovered(found) == yaml.safe_load(expected)
    assert "rank 0 stands for all 2 workers; whether they agree, verify says" in found.assumed
    assert any(said.startswith("of so long a run every 16th update was looked at") for said in found.assumed)
