"""Every rule of a plan: contracts that it must speak of, and those that it must not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lrwatch.contract import from_document, load
from lrwatch.findings import Severity
from lrwatch.lint import inspect, rules
from tests.conftest import ROOT

WARM = "{linear: {from: 0, for: 100}}"


def contract(text: str) -> Any:
    """``lr: …`` and what else differs, as a contract of 1,000 updates."""
    given = {"lrwatch": 1, "experiment": "x", "clock": {"horizon": 1000}, **yaml.safe_load(text)}
    given["lr"] = {"base": 0.1, "schedule": given["lr"]} if not isinstance(given["lr"], dict) else given["lr"]
    return from_document(given)


# rule → contract, number of updates, the sentence, and the first and last update
FIRING: dict[str, list[tuple[str, float | None, str, int | None]]] = {
    "warmup-too-long": [
        ("lr: [{linear: {from: 0, for: 2000}}, {cosine: {for: 8000}}]", None,
         "the warm-up ends at update 2,000, and the run at update 1,000: its last update gets 50% of the peak", 0),
        ("lr: [{linear: {from: 10%, over: 4000}}]", None,
         "the warm-up ends at update 4,000, and the run at update 1,000: its last update gets 32% of the peak", 0),
        ("lr: [{logarithmic: {from: 0, for: 1500}}, {constant: {}}]", None, "the warm-up ends at update 1,500", 0),
    ],
    "epochs-and-updates": [
        ("{clock: {horizon: 112500}, batch: {steps_per_epoch: 1250}, lr: [{multi_step: {milestones: [30, 60, 80]}}]}",
         None, "the schedule is over at update 80 of 112,500; 80 epochs would be 100,000 updates", 80),
        ("{clock: {horizon: 90}, batch: {steps_per_epoch: 1250}, lr: [{cosine: {until: horizon}}]}", None,
         "the run ends at update 90, before its first epoch of 1,250 updates is over; 90 epochs would be 112,500 "
         "updates", 0),
        ("{clock: {axis: epoch, horizon: 112500}, batch: {steps_per_epoch: 1250}, lr: [{cosine: {until: horizon}}]}",
         None, "the clock counts epochs, and the run has 112,500 of them: 112,500 updates are 90 epochs", 0),
    ],
    "milestone-past-end": [
        ("lr: [{multi_step: {milestones: [300, 600, 1200, 1400]}}]", None,
         "milestone 3 is at update 1,200, and the run ends at update 1,000 (and 1 more)", 1000),
        ("lr: [{step: {every: 2000}}]", None, "first drop is at update 2,000, and the run ends at update 1,000", 1000),
        (f"lr: [{WARM}, {{constant: {{for: 900}}}}, {{linear: {{to: 0, for: 100}}}}]", None,
         "the linear phase is at update 1,000, and the run ends at update 1,000", 1000),
    ],
    "idle-at-zero": [
        (f"lr: [{WARM}, {{linear: {{to: 0, for: 400}}}}]", None,
         "the learning rate is 0 from update 500 on: 50% of the run", 500),
        ("lr: [{constant: {at: 0, for: 60}}, {cosine: {until: horizon}}]", None,
         "the learning rate is 0 between update 0 and update 59: 6% of the run", 0),
        ("lr: [{multi_step: {milestones: [900], gamma: 0}}]", None,
         "the learning rate is 0 from update 900 on: 10% of the run", 900),
    ],
    "cycle-cut-short": [
        ("lr: [{cosine_restarts: {period: 300, to: 1%}}]", None,
         "the run ends at 75% of the way up from the low of a cycle that began at update 899", 899),
        ("lr: [{cosine_restarts: {period: 100, multiply: 2}}]", None, "of a cycle that began at update 699", 699),
        ("lr: [{cosine: {over: 800, after: mirror}}]", None,
         "the run ends at 15% of the way up from the low of a cycle that began at update 800", 800),
        ("lr: [{triangular: {to: 1.0, up: 200}}]", None,
         "the run ends at 100% of the way up from the low of a cycle that began at update 800", 800),
    ],
    "decay-ends-early": [
        (f"lr: [{WARM}, {{cosine: {{to: 10%, for: 250}}}}]", None,
         "the decay is over at update 350 of 1,000; then the learning rate stays at 0.01", 350),
        ("lr: [{polynomial: {to: 1.0e-3, power: 2, for: 400}}]", None, "the decay is over at update 400 of 1,000", 400),
    ],
    "decay-unfinished": [
        ("lr: [{cosine: {over: 4000}}]", None,
         "the run ends at update 1,000, and its decay at update 4,000: the last learning rate is 85% of the peak",
         1000),
        (f"lr: [{WARM}, {{warmup_stable_decay: {{decay: 900, for: 1200}}}}]", None, "and its decay at update 1,300",
         1000),
        ("lr: [{one_cycle: {over: 1500}}]", None, "and its decay at update 1,500", 1000),
    ],
    "restart-amplitude": [
        ("lr: [{cosine: {for: 500}}, {cosine: {from: 0.2, to: 0, for: 500}}]", None,
         "the restart at update 500 goes to 0.2, above the peak of 0.1 before it", 500),
        ("lr: [{cosine_restarts: {period: 250, decay: 0.04}}]", None,
         "the restart at update 250 brings back 4% of what was lost before it", 250),
    ],
    "cycle-length": [
        ("{batch: {steps_per_epoch: 12500}, clock: {horizon: 40000}, lr: [{triangular: {to: 1.0, up: 2000}}]}", None,
         "a half cycle has 2,000 updates, 0.16 epochs of 12,500; 2 to 10 epochs are usual", 0),
        ("{clock: {axis: epoch, horizon: 120}, lr: [{triangular2: {to: 1.0, up: 30}}]}", None,
         "a half cycle has 30 epochs; 2 to 10 epochs are usual", None),
    ],
    "accumulation-not-counted": [
        ("{clock: {horizon: 80000}, batch: {accumulate: 4}, lr: [{cosine: {until: horizon}}]}", 20000,
         "the horizon of 80,000 is 4 times the run's 20,000 updates, and batch.accumulate is 4: it counts "
         "micro-batches", 0),
        (f"{{clock: {{horizon: 5000}}, batch: {{accumulate: 4}}, lr: [{WARM}, {{cosine: {{until: horizon}}}}]}}", 20000,
         "the horizon of 5,000 is one 4th of the run's 20,000 updates", 0),
    ],
    "other-horizon": [
        ("{clock: {horizon: 20000}, lr: [{cosine: {until: horizon}}]}", 15000,
         "the horizon is 20,000 updates and the run has 15,000: its last learning rate is 0.0147, not 6.17e-10", 15000),
    ],
    "endless-horizon": [
        ("{clock: {horizon: 1.0e+24}, lr: [{linear: {from: 0, for: 500}}, {linear: {to: 0, until: horizon}}]}", None,
         "the horizon is 1e+24 updates: after 1e+07 of them the learning rate is 100% of the peak", 0),
    ],
    "no-learning-rate": [
        ("lr: [{linear: {to: 0, over: 900, after: continue}}]", None, "the learning rate is -0.000111111 at update 901",
         901),
        ("{clock: {}, lr: [{linear: {to: 0, over: 900, after: continue}}]}", None, "at update 901", 901),
    ],
}  # fmt: skip
CASES = [(slug, *case) for slug, cases in FIRING.items() for case in cases]


@pytest.mark.parametrize(("slug", "text", "updates", "said", "first"), CASES, ids=lambda x: str(x)[:40])
def test_it_fires(slug: str, text: str, updates: float | None, said: str, first: int | None) -> None:
    found = {f.slug: f for f in inspect(contract(text), updates).findings}
    assert slug in found, found
    assert said in found[slug].message
    assert found[slug].first_step == first
    assert found[slug].runbook == f"lint/{slug}.md"
    assert found[slug].fix


def test_every_rule_has_a_contract_that_it_speaks_of() -> None:
    assert set(FIRING) == set(rules())


QUIET = [  # what people mean, and a rule could take for a mistake
    "lr: [{constant: {}}]",
    "{clock: {}, lr: [{constant: {}}]}",
    f"lr: [{WARM}, {{constant: {{}}}}]",
    f"lr: [{WARM}, {{cosine: {{until: horizon}}}}]",
    f"lr: [{WARM}, {{cosine: {{to: 10%, until: horizon}}}}]",
    f"lr: [{WARM}, {{cosine: {{to: 10%, for: 700}}}}]",
    f"lr: [{WARM}, {{cosine: {{until: horizon, after: mirror}}}}]",
    f"lr: [{WARM}, {{linear: {{to: 0, until: horizon}}}}]",
    f"lr: [{WARM}, {{polynomial: {{to: 1.0e-7, power: 2, until: horizon}}}}]",
    f"lr: [{WARM}, {{inverse_sqrt: {{timescale: 100}}}}]",
    f"lr: [{WARM}, {{constant: {{for: 700}}}}, {{linear: {{to: 0, until: horizon}}}}]",
    "lr: [{warmup_stable_decay: {warmup: 100, decay: 200, shape: sqrt, until: horizon}}]",
    "lr: [{one_cycle: {until: horizon}}]",
    "lr: [{one_cycle: {three_phase: true, anneal: linear, until: horizon}}]",
    "{clock: {horizon: 1500}, lr: [{cosine_restarts: {period: 100, multiply: 2}}]}",
    "lr: [{cosine_restarts: {period: 250, to: 1%, decay: 0.5}}]",
    "lr: [{triangular: {to: 1.0, up: 125}}]",
    "lr: [{triangular2: {to: 1.0, up: 125}}]",
    "lr: [{exp_range: {to: 1.0, up: 100, gamma: 0.999}}]",
    "{clock: {horizon: 8000}, batch: {steps_per_epoch: 500}, lr: [{triangular: {to: 1.0, up: 2000}}]}",
    "{clock: {axis: epoch, horizon: 90}, lr: [{multi_step: {milestones: [30, 60, 80]}}]}",
    "{clock: {axis: epoch, horizon: 90}, batch: {steps_per_epoch: 1250}, lr: [{step: {every: 30}}]}",
    "{clock: {axis: epoch, horizon: 300}, batch: {steps_per_epoch: 20}, lr: [{cosine: {until: horizon}}]}",
    "lr: [{multi_step: {milestones: [300, 350]}}]",
    "lr: [{exponential: {gamma: 0.96, every: 100}}]",
    "lr: [{exponential: {gamma: 1.005}}]",  # a range test
    "lr: [{linear: {from: 1%, over: 400, after: continue}}]",  # DeepSpeed's range test
    "lr: [{linear: {from: 1%, until: horizon}}]",
    "lr: [{plateau: {metric: val_loss}}]",
    "lr: [{tanh: {to: 1.0e-3, until: horizon}}]",
    "lr: [{k_decay: {shape: cosine, k: 1.5, until: horizon}}]",
    "lr: [{inverse_power: {timescale: 100}}]",
    "lr: [{logarithmic: {from: 0, for: 100}}, {constant: {}}]",
    "lr: [{product: {of: [{cosine: {to: 10%, until: horizon}}, {linear: {from: 10%, to: 100%, for: 100}}]}}]",
    "lr: [{table: {values: [0.0, 0.1, 0.1, 0.01], at: [0, 100, 800, 999], between: linear}}]",
    "{clock: {axis: sample, horizon: 1.0e+9}, batch: {global: 1024}, lr: [{cosine: {to: 10%, until: horizon}}]}",
    "{clock: {axis: token, horizon: 1.5e+13}, lr: [{cosine: {to: 10%, until: horizon}}]}",
    "{clock: {horizon: 4000, ticks: 4}, lr: [{cosine: {until: horizon}}]}",
    "{clock: {horizon: 12}, lr: [{linear: {from: 0, for: 4}}, {cosine: {to: 0, until: horizon}}]}",
    "{lr: [{constant: {}}], amendments: [{at: 300, until: 310, multiply: {lr: 0.1}}]}",
    f"{{lr: [{WARM}, {{cosine: {{until: horizon}}}}],"
    " amendments: [{at: 500, set: {clock.horizon: 2000}, join: continuous}]}",
    "{lr: {base: 0.1, schedule: {cosine: {until: horizon}}, groups: {head: {scale: 10}, body: {base: 0.01}}}}",
]


@pytest.mark.parametrize("text", QUIET)
def test_sane_contracts_are_left_alone(text: str) -> None:
    made = contract(text)
    horizon = made.horizon
    updates = None if horizon is None else horizon / made.clock.ticks
    assert not inspect(made, updates if made.clock.axis == "update" else None).findings


def test_the_projects_own_contracts_are_left_alone() -> None:
    for path in (ROOT / "examples/contract.yaml", ROOT / "lrwatch/report/contract.yaml"):
        assert not inspect(load(path)).findings


def test_the_same_trouble_of_several_groups_is_said_once() -> None:
    made = contract(
        "{lr: {base: 0.1, schedule: {cosine: {over: 4000}},"
        " groups: {head: {base: 1}, body: {scale: 2}, neck: {schedule: constant}}}}"
    )
    (finding,) = inspect(made).findings
    assert (finding.slug, finding.group, dict(finding.details)) == ("decay-unfinished", None, {})
    made = contract(
        "{lr: {base: 0.1, schedule: constant,"
        " groups: {head: {schedule: {cosine: {over: 4000}}}, neck: {schedule: {cosine: {over: 4000}}}}}}"
    )
    (finding,) = inspect(made).findings
    assert (finding.slug, finding.group, finding.details["groups"]) == ("decay-unfinished", None, ["head", "neck"])


def test_a_group_with_a_schedule_of_its_own_is_judged_by_it() -> None:
    made = contract(
        "{lr: {base: 0.1, schedule: {cosine: {until: horizon}},"
        " groups: {head: {schedule: [{multi_step: {milestones: [2000]}}]}}}}"
    )
    (finding,) = inspect(made).findings
    assert (finding.slug, finding.group) == ("milestone-past-end", "head")


def test_what_cannot_be_judged_says_why() -> None:
    whys = {run.slug: run.why for run in inspect(contract("{clock: {}, lr: [{plateau: {metric: loss}}]}")).runs}
    assert whys["idle-at-zero"] == "the contract has no clock.horizon"
    assert whys["cycle-length"] == "a plateau reacts to metrics that nobody has recorded yet"
    assert whys["no-learning-rate"] == ""
    whys = {run.slug: run.why for run in inspect(contract("lr: constant")).runs}
    assert whys["other-horizon"] == "how many updates the trainer will make is not known (--updates)"
    assert whys["epochs-and-updates"] == "the contract has no batch.steps_per_epoch"


def test_a_curve_of_a_million_updates_is_looked_at_where_it_turns() -> None:
    text = "{clock: {horizon: 1000000}, lr: [{linear: {from: 0, for: 137}}, {cosine: {to: 10%, for: 400000}}]}"
    (finding,) = inspect(contract(text)).findings
    assert finding.slug == "decay-ends-early"
    assert abs((finding.first_step or 0) - 400_137) <= 400  # within 1e-6 of the peak a little before its end


def test_only_two_severities_are_used_and_codes_are_unique() -> None:
    known = rules()
    assert {rule.severity for rule in known.values()} == {Severity.error, Severity.warning}
    assert len({rule.code for rule in known.values()}) == len(known)
