"""Every bug of the bed, made by the real scheduler, is detected and named; healthy runs stay silent."""

from __future__ import annotations

import pytest

from tests.mutations.bugs import BUGS, CLEAN
from tests.mutations.judge import STORED, Outcome, faulty, healthy, judge, random_run
from tests.mutations.shapes import SHAPES


def _is_right(o: Outcome) -> None:
    assert o.detected or not o.visible, (o.bug, o.shape, o.storage)
    if o.detected:
        assert o.truth in o.named, (o.bug, o.shape, o.storage, o.named)
        assert o.confident is False or o.named == (o.truth,)


def _shapes(bug):
    return [s for s in SHAPES if bug.where(s)]


@pytest.mark.parametrize("bug", BUGS, ids=lambda b: b.name)
def test_a_bug_is_named_on_some_shapes(bug):
    for i, shape in enumerate(_shapes(bug)[BUGS.index(bug) % 4 :: 4] or _shapes(bug)[:1]):
        _is_right(judge(random_run(500 + i, shape), bug.make, STORED[i % 2], bug))


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS, ids=lambda b: b.name)
def test_a_bug_is_named_on_every_shape_it_shows_on(bug):
    for i, shape in enumerate(_shapes(bug)):
        _is_right(judge(random_run(600 + i, shape), bug.make, STORED[i % 2], bug))


@pytest.mark.parametrize("make", CLEAN, ids=lambda m: m.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_a_healthy_run_has_no_finding_however_it_is_stored(shape, make):
    for i, storage in enumerate(STORED):
        result = judge(random_run(700 + i, shape), make, storage).result
        assert result.findings == ()
        assert result.verdict() == "pass"


@pytest.mark.parametrize("seed", [*range(23), 255, 1018, 1338])  # named falsely once, or not
def test_random_faults(seed):
    _is_right(faulty(seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_random_faults_and_healthy_runs_at_length(seed):
    _is_right(faulty(seed))
    assert healthy(seed).result.findings == ()
