"""Real trainings with real torch schedulers: healthy ones are passed over in silence, broken ones are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.optim import lr_scheduler as schedulers  # noqa: E402

from lrwatch.engine import Session  # noqa: E402
from lrwatch.findings import Finding, Severity  # noqa: E402
from lrwatch.trace.model import Chunk, Event  # noqa: E402
from tests.checks.test_stability import STABILITY, told  # noqa: E402

STEPS = 700
Hook = Callable[[int, Any, Any], None]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(
    classes: bool, schedule: Callable[[Any], Any], *, adam: bool, batch: int, lr: float | None = None,
    hook: Hook | None = None,
) -> tuple[Finding, ...]:  # fmt: skip
    """What is found in the record of a small network that learns from a teacher; ``hook`` breaks it.

    Nothing is found in mid-run that is not known at the end.
    """
    torch.manual_seed(0)
    out = 10 if classes else 1
    teacher = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, out))
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, out))
    inputs = torch.randn(1536, 16)
    with torch.no_grad():
        targets = teacher(inputs)
        targets = (3 * targets).argmax(1) if classes else targets + 0.1 * torch.randn_like(targets)
    criterion = nn.functional.cross_entropy if classes else nn.functional.mse_loss
    optimizer: Any = torch.optim.AdamW if adam else torch.optim.SGD
    optimizer = optimizer(model.parameters(), lr=lr or (0.003 if adam else 0.05), **({} if adam else {"momentum": 0.9}))
    scheduler = schedule(optimizer)
    session = Session(None, only=STABILITY)
    rows: list[tuple[float, ...]] = []
    seen: set[tuple[str, str | None]] = set()
    for step in range(STEPS):
        if hook is not None:
            hook(step, optimizer, model)
        which = torch.randint(0, 1024, (batch,))
        loss = criterion(model(inputs[which]), targets[which])
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
        rows.append((step, optimizer.param_groups[0]["lr"], float(loss.detach()), float(norm)))
        optimizer.step()
        scheduler.step()
        if (step + 1) % 35 == 0:
            update, rate, losses, norms = np.array(rows).T
            session.feed(Chunk({"update": update.astype(int), "lr/0": rate, "loss": losses, "grad_norm": norms}))
            rows = []
            with torch.no_grad():
                value = float(criterion(model(inputs[1024:]), targets[1024:]))
            session.feed(Event("validation", step + 1, fields={"metrics": {"val_loss": value}}))
            seen |= {(f.slug, f.signal) for f in session.findings()}
    findings = session.finish().findings
    assert seen <= {(f.slug, f.signal) for f in findings}
    return findings


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, STEPS),
    "restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, STEPS // 4),
    "growing restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, STEPS // 15, T_mult=2),
    "many restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, STEPS // 12),
    "one cycle": lambda o: schedulers.OneCycleLR(o, max_lr=o.param_groups[0]["lr"], total_steps=STEPS + 1),
    "steps": lambda o: schedulers.StepLR(o, STEPS // 3, gamma=0.1),
    "triangles": lambda o: schedulers.CyclicLR(
        o, o.param_groups[0]["lr"] / 10, o.param_groups[0]["lr"], STEPS // 12, cycle_momentum=False
    ),
    "constant": lambda o: schedulers.LambdaLR(o, lambda step: 1.0),
}


def grid() -> list[Any]:
    """Every schedule with every optimizer and task; in the quick suite each schedule once."""
    cells = [
        (schedule, adam, classes) for schedule in SCHEDULERS for adam in (True, False) for classes in (True, False)
    ]
    quick = {(schedule, i % 2 == 0, i // 2 % 2 == 0) for i, schedule in enumerate(SCHEDULERS)}
    names = [f"{s}-{'adamw' if adam else 'sgd'}-{'classes' if classes else 'values'}" for s, adam, classes in cells]
    marks = [() if cell in quick else (pytest.mark.long,) for cell in cells]
    return [pytest.param(*c, id=name, marks=m) for c, name, m in zip(cells, names, marks, strict=True)]


@pytest.mark.parametrize(("schedule", "adam", "classes"), grid())
def test_silent_on_real_trainings(schedule: str, adam: bool, classes: bool) -> None:
    assert told(trained(classes, SCHEDULERS[schedule], adam=adam, batch=8)) == []


def test_learning_a_small_set_by_heart_is_overfitting() -> None:
    (finding,) = trained(True, SCHEDULERS["constant"], adam=False, batch=64)
    assert (finding.slug, finding.severity, finding.state) == ("overfitting", Severity.warning, "active")


def raised(at: int, times: float, until: int = STEPS) -> Hook:
    """The learning rate ``times`` too high for a while."""

    def hook(step: int, optimizer: Any, model: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (times if at <= step < until else 1.0)

    return hook


def without_gradient(step: int, optimizer: Any, model: Any) -> None:
    if step == 304:
        for parameter in model.parameters():
            parameter.register_hook(lambda grad: grad * 0)


def dead_units(step: int, optimizer: Any, model: Any) -> None:
    if step == 304:
        with torch.no_grad():
            for parameter in model[0].parameters():
                parameter.fill_(-10.0)


class NoScheduler:
    """The hook sets the rate."""

    def __init__(self, optimizer: Any):
        pass

    def step(self) -> None:
        pass


@pytest.mark.parametrize(
    ("hook", "slug", "severity"),
    [
        (raised(304, 20.0), "divergence", Severity.error),
        (raised(304, 50.0), "gradient-explosion", Severity.warning),
        pytest.param(raised(304, 50.0, 312), "divergence", Severity.error, marks=pytest.mark.long),
        pytest.param(dead_units, "divergence", Severity.error, marks=pytest.mark.long),
        (without_gradient, "gradient-vanishing", Severity.warning),
    ],
    ids=["rate too high", "rate much too high", "rate too high for 8 steps", "dead units", "no gradient"],
)
def test_broken_trainings_are_found(hook: Hook, slug: str, severity: Severity) -> None:
    found = {f.slug: f for f in trained(True, NoScheduler, adam=False, batch=16, hook=hook)}
    finding = found[slug]
    assert (finding.severity, finding.state) == (severity, "active")
    assert finding.first_step is not None and abs(finding.first_step - 304) <= 24
