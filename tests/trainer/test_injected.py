"""Every fault that --inject offers is made by the loop, caught by verify and named: real, short trainings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrwatch import contract as contracts
from lrwatch.errors import LrwatchError
from lrwatch.findings import Finding
from lrwatch.readers import open_trace
from lrwatch.trainer.faults import FAULTS
from lrwatch.verify import verify

Train = Callable[..., int]
T = 30
LINES = [{"linear": {"from": 0, "for": 6}}, {"linear": {"to": "10%", "until": "horizon"}}]
COSINE = [{"linear": {"from": "10%", "for": 6}}, {"cosine": {"to": "10%", "until": "horizon"}}]
STABLE = {"warmup_stable_decay": {"warmup": 6, "decay": 12, "until": "horizon"}}
"""Without a class in torch."""
GROUPS = {"decay": {"scale": 3}, "no_decay": {}}
PLATEAU = {"plateau": {"metric": "val_loss", "factor": 0.5, "patience": 0, "threshold": 0.005}}


@pytest.fixture(autouse=True)
def torch_may_complain() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def caught(train: Train, contract: Callable[..., Path], tmp_path: Path) -> Callable[..., list[Finding]]:
    """What drift and stepping say of a run of 30 updates with this fault; interrupted after 12, where it resumes."""

    def caught(
        fault: str, schedule: Any = COSINE, *, workers: int = 1, resume: bool = False, **options: Any
    ) -> list[Finding]:
        lr = {"base": options.pop("base", 0.002), "schedule": schedule, **options.pop("lr", {})}
        batch = {"accumulate": options.pop("accumulate", 2)}
        path = contract(clock={"horizon": options.pop("updates", T)}, batch=batch, lr=lr)
        told = {"path": path, "workers": workers, "validate_every": 5, "checkpoint_every": 4, **options}
        both = (fault,) if fault.startswith("saved") else ()
        if resume:
            assert train(steps=12, inject=both, **told) == 0
        assert train(inject=(fault,), resume=resume, **told) == 0
        report = verify(contracts.load(path), open_trace([tmp_path / "run"]))
        return [f for f in report.result.findings if f.slug in ("drift", "stepping")]

    return caught


def name_of(found: list[Finding]) -> str:
    (finding,) = [f for f in found if f.slug == "drift"]
    assert finding.cause is not None
    return finding.cause.name


ALONE = [
    ("step_per_micro", LINES, "rate"),
    ("horizon:factor=2", COSINE, "horizon"),
    ("wrong_base:factor=10", LINES, "factor"),
    ("frozen:at=9", COSINE, "frozen"),
    ("off_by_one:offset=2", LINES, "offset"),
    ("step_per_epoch:every=7", LINES, "staircase"),
    ("step_also_per_epoch:every=7", LINES, "extra_per_epoch"),
    ("warmup:factor=2", LINES, "warmup_scale"),
    ("no_floor", COSINE, "floor"),
    ("float32_lr", LINES, "quantised"),
]
RESUMED = [
    ("scheduler_not_restored", COSINE, "restart_at_resume"),
    ("optimizer_not_restored", COSINE, "factor_at_resume"),
    ("built_after_loading", STABLE, "single_sample_at_resume"),
    ("saved_before_step", LINES, "offset_at_resume"),
    ("fast_forwarded_twice", LINES, "offset_at_resume"),
    ("orphaned_at_resume", LINES, "frozen_at_resume"),
    ("horizon_at_resume:factor=2", LINES, "horizon_at_resume"),
    ("base_at_resume:factor=0.5", LINES, "factor_at_resume"),
]
TOGETHER = [
    ("step_per_worker", COSINE, "rate", {}),
    ("stale_contract:rank=1,base=0.001", LINES, "rank_stale_contract", {}),
    ("rank_offset:rank=1,offset=-2", LINES, "rank_offset", {}),
    ("rank_base:rank=1,factor=2", LINES, "rank_factor", {}),
    ("rank_pace:rank=1,steps=2", LINES, "rank_progress", {}),
    (
        "local_metric",
        PLATEAU,
        "rank_local_metric",
        {"validate_every": 2, "updates": 40, "accumulate": 1, "base": 0.003},
    ),
]
OTHERS = {"nan_loss", "steps_on_skips", "group_scale_lost", "groups_swapped"}


def test_every_fault_has_its_test() -> None:
    tested = {case[0].partition(":")[0] for case in (*ALONE, *RESUMED, *TOGETHER)}
    assert tested | OTHERS == FAULTS.keys()


def _some(cases: list[Any]) -> list[Any]:
    """The cases, of which only every fourth is in the quick suite: each trains."""
    return [pytest.param(*c, id=c[0], marks=[] if i % 4 == 0 else pytest.mark.long) for i, c in enumerate(cases)]


@pytest.mark.parametrize(("fault", "schedule", "cause"), _some(ALONE))
def test_a_worker(caught: Any, fault: str, schedule: Any, cause: str) -> None:
    assert name_of(caught(fault, schedule)) == cause


@pytest.mark.parametrize(("fault", "schedule", "cause"), _some(RESUMED))
def test_a_resume(caught: Any, fault: str, schedule: Any, cause: str) -> None:
    assert name_of(caught(fault, schedule, resume=True)) == cause


@pytest.mark.long
@pytest.mark.parametrize(("fault", "schedule", "cause", "options"), TOGETHER)
def test_workers(caught: Any, fault: str, schedule: Any, cause: str, options: Any) -> None:
    assert name_of(caught(fault, schedule, workers=2, **options)) == cause


@pytest.mark.long
def test_a_scheduler_that_moves_when_the_update_is_skipped(caught: Any) -> None:
    found = caught("steps_on_skips:every=4", LINES, precision="fp16")
    assert name_of(found) == "skipped_updates"


def test_a_group_that_lost_its_scale(caught: Any) -> None:
    found = caught("group_scale_lost:group=0", lr={"groups": GROUPS})
    assert (name_of(found), found[0].group) == ("group_ratio", "decay")


@pytest.mark.long
def test_two_groups_swapped(caught: Any) -> None:
    found = caught("groups_swapped", lr={"groups": GROUPS})
    assert {(f.group, f.cause.name) for f in found if f.cause} == {
        ("decay", "group_swapped"),
        ("no_decay", "group_swapped"),
    }


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("groups_swapped", "--inject groups_swapped: the contract has one parameter group; name more in lr.groups"),
        ("group_scale_lost:group=1", "--inject group_scale_lost: there is no group 1 in lr.groups"),
        ("warmup:factor=2", "--inject warmup: the contract's first phase has no length (`for`); there is no warm-up"),
        ("no_floor", "--inject no_floor: the contract's last phase ends at 0 already; give it a `to`"),
        ("rank_base:rank=1,factor=2", "--inject rank_base: there is no rank 1; ranks are 0 to 0"),
    ],
)
def test_faults_that_the_contract_does_not_allow(caught: Any, fault: str, message: str) -> None:
    with pytest.raises(LrwatchError) as refused:
        caught(fault, {"linear": {"to": 0, "until": "horizon"}})
    assert str(refused.value) == message
