"""What goes wrong on a game day, and what is expected of the alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Mend = Literal["end", "resume", "continue", "cheaper"]
"""How the trouble ends: the run is stopped · the dead run is resumed · the process goes on · a run within budget."""


@dataclass(frozen=True)
class Expected:
    """The alert that must be heard. ``receiver``: by whom; ``codes``: findings, any of them; of any if empty."""

    alert: str
    receiver: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Act:
    """What happens inside a trainer, after update ``at`` (and every ``every`` updates from then on).

    ``what``: one of ``sabotage.ACTS``; ``rank``: in which worker; ``seen``: not before Prometheus has seen the run.
    """

    what: str
    at: int
    rank: int = 0
    every: int = 0
    seen: bool = False


@dataclass(frozen=True)
class Scenario:
    """One thing that goes wrong.

    Attributes:
        name, story: for people; seed: the failure mode that it plays, F1 to F7.
        contract: YAML without head; schedules are short enough for a game.
        expects: None for the run that must stay silent. along: alerts and codes that may come with it.
        inject: faults of the reference trainer; at: the update at which they begin. act: see there. signal: sent to
            the workers once Prometheus has seen them. resumed: the faults are those of a second attempt.
        needs: updates in trouble that the check must have seen before it can judge; time counts from then on.
        runs: how many, one after the other. pace: seconds that an update takes at least.
    """

    name: str
    story: str
    contract: str
    expects: Expected | None
    seed: str = ""
    along: tuple[str, ...] = ()
    workers: int = 1
    inject: tuple[str, ...] = ()
    act: Act | None = None
    signal: Literal["", "KILL", "STOP"] = ""
    at: int = 0
    needs: int = 0
    mend: Mend = "end"
    resumed: bool = False
    runs: int = 1
    validate_every: int = 10_000
    pace: float = 0.02


def page(alert: str, *codes: str) -> Expected:
    return Expected(alert, "page", codes)


def ticket(alert: str, *codes: str) -> Expected:
    return Expected(alert, "ticket", codes)


COSINE: Final = """\
clock: {axis: update, horizon: 4000}
lr: {base: 2.0e-3, schedule: [{linear: {from: 0, for: 20}}, {cosine: {to: 1.0e-4, until: horizon}}]}
"""
FLAT: Final = "clock: {axis: update, horizon: 2000}\nlr: {base: 1.0e-9, schedule: constant}\n"
LATE: Final = """\
clock: {axis: update, horizon: 2000}
lr: {base: 2.0e-3, schedule: {cosine: {to: 2.0e-5, until: horizon}}}
"""
RESTARTS: Final = """\
clock: {axis: update, horizon: 1500}
batch: {global: 16}
lr: {base: 3.0e-3, schedule: {cosine_restarts: {period: 30, to: 0}}}
"""
HOT_RESTART: Final = """\
clock: {axis: update, horizon: 1000}
lr:
  base: 0.5
  schedule:
  - {linear: {from: 0, to: 2.0e-3, for: 20}}
  - {cosine: {from: 2.0e-3, to: 1.0e-4, for: 280}}
  - {cosine: {from: 0.5, to: 1.0e-3, until: horizon}}
"""
COSTLY: Final = """\
clock: {axis: update, horizon: 40}
lr: {base: 2.0e-3, schedule: {cosine: {to: 1.0e-4, until: horizon}}}
cost: {per_gpu_hour: 1000, budget: 0.0001}
"""
UNSTABLE: Final = ("LR302", "LR303", "LR304", "LR305", "LR306", "LR311", "LR312")
"""Signs of instability that may come along with each other."""

_ALL: Final = (
    Scenario("healthy", "nothing goes wrong: nobody may be woken", COSINE, None),
    Scenario("wrong-stepping", "scheduler.step() after every micro-batch", COSINE + "batch: {accumulate: 2}\n",
             page("LrwatchFindingError", "LR101", "LR102"), inject=("step_per_micro",), along=("LR310",)),
    Scenario("stale-contract", "one of two workers got yesterday's contract", COSINE,
             page("LrwatchContractMismatch"), "F3", workers=2, inject=("stale_contract:rank=1,base=1e-3",),
             along=("LrwatchContractUnapproved", "LrwatchDesync")),
    Scenario("desync", "one of two workers scales its learning rate down", COSINE, page("LrwatchDesync"), "F3",
             workers=2, act=Act("halve_lr", 30, rank=1, every=1), along=("LR101",), pace=0.0),
    Scenario("resume-without-scheduler", "a resume restores the model and not the scheduler", COSINE,
             page("LrwatchFindingError", "LR101", "LR102"), "F7", inject=("scheduler_not_restored",), resumed=True),
    Scenario("nan", "the loss of update 40 is NaN", COSINE, page("LrwatchFindingError", "LR301"),
             inject=("nan_loss:at=40",), at=40, along=UNSTABLE),
    Scenario("late-divergence", "the weights are lost at 77 % of the schedule", LATE,
             ticket("LrwatchFindingWarning", "LR304"), "F1", act=Act("zero_weights", 1540), pace=0.0, along=UNSTABLE),
    Scenario("no-improvement", "a learning rate at which nothing is learned", FLAT,
             ticket("LrwatchFindingWarning", "LR308", "LR311"), "F2", needs=500, validate_every=40,
             pace=0.0, along=UNSTABLE),
    Scenario("oscillation", "restarts every 30 updates, each of which starts over", RESTARTS,
             ticket("LrwatchFindingWarning", "LR309"), "F5", act=Act("start_over", 0, every=30), needs=270,
             pace=0.0, along=(*UNSTABLE, "LR307")),
    Scenario("hot-restart", "a restart to a learning rate far too high", HOT_RESTART,
             ticket("LrwatchFindingWarning", "LR305", "LR307"), "F6", at=300, pace=0.0, along=UNSTABLE),
    Scenario("out-of-memory", "a worker reports an out-of-memory error", COSINE, page("LrwatchGpuOutOfMemory"),
             act=Act("oom", 40)),
    Scenario("stalled", "the data loader hangs", COSINE + "trace: {step_deadline: 3}\n", page("LrwatchRunStalled"),
             act=Act("hang", 40), mend="continue"),
    Scenario("killed-worker", "SIGKILL", COSINE, page("LrwatchRunDown"), signal="KILL", mend="resume"),
    Scenario("killed-agent", "the agent of one of two workers dies, the training goes on", COSINE,
             ticket("LrwatchWorkerDown"), workers=2, act=Act("kill_agent", 40, rank=1, seen=True)),
    Scenario("lost-scrapes", "the process stands still and answers no scrape (SIGSTOP)", COSINE,
             page("LrwatchRunDown"), signal="STOP", mend="continue"),
    Scenario("cost-overrun", "three runs in a row cost more than their budget", COSTLY,
             page("LrwatchCostOverBudgetStreak"), "F4", runs=3, mend="cheaper", pace=0.1,
             along=("LrwatchCostOverBudget", "LR502")),
    Scenario("wrong-contract-shipped", "production follows a contract that nobody approved",
             COSINE.replace("2.0e-3", "2.0e-2"), ticket("LrwatchContractUnapproved"), along=UNSTABLE),
)  # fmt: skip

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({s.name: s for s in _ALL})
UNAPPROVED: Final = frozenset({"wrong-contract-shipped"})


def document(scenario: Scenario, budget: float | None = None) -> str:
    """The scenario's contract, under an experiment of its own; ``budget`` replaces that of ``cost``."""
    body = scenario.contract if budget is None else scenario.contract.replace("budget: 0.0001", f"budget: {budget:g}")
    return f"lrwatch: 1\nexperiment: game-{scenario.name}\n{body}"
