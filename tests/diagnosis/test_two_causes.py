"""Two bugs in one run, bugs that begin in mid-run, and how many curves of a run are searched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.trace.model import Chunk, Event
from tests.mutations.judge import STORED, judge, random_run
from tests.mutations.pairs import PAIRS
from tests.mutations.shapes import BY_NAME, SHAPES

T, W, BASE = 500, 60, 3e-4
COSINE = [{"linear": {"from": 0, "for": W}}, {"cosine": {"to": "10%", "until": "horizon"}}]
LONGER = [COSINE[0], {"cosine": {"to": "10%", "until": 800}}]
Array = Any


def contract(schedule: Any = COSINE) -> Any:
    return from_document(
        {"lrwatch": 1, "experiment": "x", "clock": {"horizon": T}, "lr": {"base": BASE, "schedule": schedule}}
    )


def found(
    used: Callable[[Callable[[Array], Array], Array], Array], schedule: Any = COSINE, cuts: tuple[int, ...] = ()
) -> list[Finding]:
    """What drift says of a run that used these rates, (promise, positions) → rates, cut by resumes."""
    promised, t = contract(schedule), np.arange(float(T))
    session, rates = Session(promised, only=["drift"]), used(Curve(promised).at, t)
    borders = [0, *cuts, T]
    for segment, (begin, end) in enumerate(zip(borders, borders[1:], strict=False)):
        kind = "resume" if segment else "start"
        session.feed(Event(kind, begin, segment=segment, fields={"world": 4, "accumulate": 3, "steps_per_epoch": 50}))
        columns = {"update": t[begin:end].astype(int), "lr/0": rates[begin:end]}
        session.feed(Chunk(columns, world=4, segment=segment))
    return list(session.finish().findings)


def told(finding: Finding) -> tuple[str, str, str]:
    assert finding.cause is not None
    return finding.cause.name, finding.cause.confidence, finding.cause.sentence


@pytest.mark.parametrize(
    ("used", "sentence", "fixes"),
    [
        (
            lambda e, t: 2.0 * e(t + 3),
            "the learning rate is multiplied by 2 (√world size); and the scheduler is 3 steps ahead",
            2,
        ),
        (
            lambda e, t: 0.5 * e(4 * t),
            "the learning rate is multiplied by 0.5 (1/√world size); and the scheduler was stepped once per worker "
            "(k = 4 = world size)",
            2,
        ),
        (
            lambda e, t: 0.25 * e(np.minimum(t, 200)),
            "the learning rate is multiplied by 0.25 (1/world size); and the scheduler was not stepped "
            "any more after step 200",
            2,
        ),
        (
            lambda e, t: np.where(t < W, BASE, Curve(contract(LONGER)).at(t)),
            "there is no warm-up; in its place: peak; and the schedule was planned to end at 800, the contract says "
            "500",
            2,
        ),
    ],
    ids=["factor and offset", "factor and rate", "factor and frozen", "no warm-up and horizon"],
)
def test_two_bugs_at_once(used: Any, sentence: str, fixes: int) -> None:
    [finding] = found(used)
    assert told(finding) == ("two_causes", "high", f"two bugs: {sentence}")
    assert finding.cause is not None and finding.cause.explains == pytest.approx(1.0)
    assert len(finding.fix.split("; and ")) == fixes


@pytest.mark.parametrize(
    ("used", "name", "sentence"),
    [
        (
            lambda e, t: np.where(t < 250, 1.0, 0.5) * e(t),
            "factor",
            "the learning rate is multiplied by 0.5 from step 250 on",
        ),
        (
            lambda e, t: np.where((t < 250) | (t >= 400), 1.0, 0.5) * e(t),
            "factor",
            "the learning rate is multiplied by 0.5 from step 250 on, until step 399",
        ),
        (
            lambda e, t: np.where(t < 210, e(t), e(t - 210)),
            "restart",
            "the schedule began again at step 210, where no resume is recorded: the scheduler was built anew",
        ),
        (
            lambda e, t: 2.0 * np.where(t < 250, 1.0, 0.1) * e(t),
            "two_causes",
            "two bugs, one after the other: the learning rate is multiplied by 2 (√world size); then the learning rate "
            "is multiplied by 0.1 from step 250 on",
        ),
        (
            lambda e, t: e(4 * np.minimum(t, 90)),
            "two_causes",
            "two bugs: the scheduler was not stepped any more after step 90; and the scheduler was stepped once per "
            "worker (k = 4 = world size)",
        ),
    ],
    ids=["a cut", "a cut for a while", "built anew", "two factors", "too fast, then stopped"],
)
def test_bugs_that_begin_in_mid_run(used: Any, name: str, sentence: str) -> None:
    [finding] = found(used)
    assert told(finding) == (name, "high", sentence)


@pytest.mark.parametrize(
    "used",
    [
        lambda e, t: e(t) * (1.0 + 0.05 * np.sin(t / 37.0)),
        lambda e, t: e(t**1.05),
        lambda e, t: 2.0 * e(np.minimum(3.0 * t + 5.0, 400.0)),
        lambda e, t: e(t) * np.select([t < 150, t < 300, t < 450], [1.0, 0.7, 0.9], 0.3),
    ],
    ids=["a wave", "another pace all the time", "three at once", "three one after the other"],
)
def test_what_no_two_causes_give_is_not_named(used: Any) -> None:
    assert [f.cause.name for f in found(used) if f.cause] == ["unexplained"]


@pytest.mark.parametrize("pair", PAIRS[::4], ids=lambda p: p.name)
def test_real_schedulers_with_two_bugs(pair: Any) -> None:
    shape = next(s for s in SHAPES if pair.where(s))
    outcome = judge(random_run(41, shape), pair.make, STORED[1])
    causes = [f.cause for f in outcome.result.findings if f.slug == "drift" and f.cause]
    said = [(c.params["first"], c.params["second"]) if "first" in c.params else (c.name,) for c in causes]
    said += [a.split(":")[0].split(" + ") for c in causes for a in c.also_consistent]
    assert pair.truth in map(frozenset, said), causes


def test_equal_pairs_are_all_said() -> None:
    """A pace of 4 towards another end is a fourth of the warm-up and another end."""
    outcome = judge(random_run(3, BY_NAME["hf_linear"]), PAIRS[8].make, STORED[1])
    [finding] = [f for f in outcome.result.findings if f.slug == "drift"]
    assert finding.cause is not None and finding.cause.confidence == "ambiguous"
    pairs = {tuple(sorted((finding.cause.params["first"], finding.cause.params["second"])))}
    pairs |= {tuple(sorted(a.split(":")[0].split(" + "))) for a in finding.cause.also_consistent}
    assert {("horizon", "rate"), ("horizon", "warmup_length")} <= pairs


def test_begun_again_once_may_be_an_epoch_or_a_scheduler_built_anew() -> None:
    [finding] = found(lambda e, t: e(t % 300))
    assert finding.cause is not None and finding.cause.confidence == "ambiguous"
    assert (finding.cause.name, finding.cause.also_consistent) == (
        "restart",
        ("modulo: the schedule begins again every 300 updates",),
    )


def test_many_segments_with_one_bug_are_searched_once_and_all_named() -> None:
    cuts = tuple(range(100, 500, 25))
    starts = np.array([0, *cuts])

    def restarted(e: Any, t: Array) -> Array:
        return e(t - starts[np.searchsorted(starts, t, side="right") - 1])

    findings = found(restarted, cuts=cuts)
    assert len(findings) == len(cuts)
    assert {f.cause.name for f in findings if f.cause} == {"restart_at_resume"}


def test_many_segments_that_nobody_can_explain_are_said_to_be_left() -> None:
    cuts = tuple(range(30, 500, 30))
    said = Counter(told(f) for f in found(lambda e, t: e(t) * (1.1 + 0.05 * np.sin(t / 7.0)), cuts=cuts))
    left = "left undiagnosed: it is none of the causes found so far, and 2 curves of this run were searched"
    assert said["unexplained", "low", left] == len(cuts) + 1 - 2
