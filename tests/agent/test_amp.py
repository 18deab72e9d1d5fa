"""Updates that a loss scaler skips, with the real GradScaler on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lrwatch.agent.recorder import Recorder
from tests.agent.helpers import Training, rows

Make = Callable[..., Recorder]
GOOD, BAD = False, True


def amp(training: Training, recorder: Recorder, scaler: torch.amp.GradScaler, updates: list[bool]) -> None:
    for inf in updates:
        training.scaled(scaler, inf)
        scaler.update()
        recorder.step(loss=1.0)


def counters(recorder: Recorder) -> list[tuple[int, int, int]]:
    """(attempt, update, skipped) of every row."""
    return [(r["attempt"], r["update"], r.get("skipped", 0)) for r in rows(recorder)]


EXPECTED = [(0, 0, 0), (1, 1, 1), (2, 1, 0), (3, 2, 1), (4, 2, 1), (5, 2, 0)]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("given", [True, False], ids=["scaler given", "scaler not given"])
def test_skipped_updates_are_attempts(record: Make, fused: bool, given: bool) -> None:
    """A fused optimizer is called and skips by itself; without one, only the scaler knows."""
    training = Training(torch.optim.AdamW, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    recorder = record(training.optimizer, scaler=scaler if given else None)
    amp(training, recorder, scaler, [GOOD, BAD, GOOD, BAD, BAD, GOOD])
    if given or fused:
        assert counters(recorder) == EXPECTED
    else:  # nobody says why the hook did not come: the row is left out, and that is said
        assert counters(recorder) == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]
        assert "pass scaler= if a loss scaler skips updates" in recorder.notices[0]
    assert int(next(iter(training.optimizer.state.values()))["step"]) == 3
    assert recorder.errors == 0


def test_the_learning_rate_of_a_skipped_update_is_known_only_to_a_fused_optimizer(record: Make) -> None:
    for fused, known in ((False, [True, False]), (True, [True, True])):
        training = Training(torch.optim.AdamW, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        recorder = record(training.optimizer, scaler=scaler)
        amp(training, recorder, scaler, [GOOD, BAD])
        assert ["lr/0" in r for r in rows(recorder)] == known


@pytest.mark.parametrize("fused", [False, True])
def test_a_scale_that_is_too_high_at_first_delays_the_first_update(record: Make, fused: bool) -> None:
    """More skips in a row than the patience with a dead hook."""
    training = Training(torch.optim.AdamW, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder = record(training.optimizer, scaler=scaler)
    amp(training, recorder, scaler, [BAD] * 5 + [GOOD])
    assert counters(recorder) == [(n, 0, 1) for n in range(5)] + [(5, 0, 0)]
    assert not recorder.notices


def test_step_may_come_before_the_scaler_is_updated(record: Make) -> None:
    training = Training(torch.optim.AdamW)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder = record(training.optimizer, scaler=scaler)
    for inf in (GOOD, GOOD, BAD, GOOD):
        training.scaled(scaler, inf)
        recorder.step(loss=1.0)
        scaler.update()
    assert counters(recorder) == [(0, 0, 0), (1, 1, 0), (2, 2, 1), (3, 2, 0)]


def test_growing_is_not_skipping(record: Make) -> None:
    training = Training(torch.optim.AdamW)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1)
    recorder = record(training.optimizer, scaler=scaler)
    amp(training, recorder, scaler, [GOOD, GOOD, BAD, GOOD])
    assert counters(recorder) == [(0, 0, 0), (1, 1, 0), (2, 2, 1), (3, 2, 0)]


def test_steps_per_micro_batch_are_not_taken_for_skips(record: Make) -> None:
    training = Training(torch.optim.AdamW)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder = record(training.optimizer, scaler=scaler)
    for _ in range(3):
        training.scaled(scaler)
        scaler.update()
        recorder.step(loss=1.0)
        recorder.step(loss=9.0)
    assert [(r["update"], r["loss"]) for r in rows(recorder)] == [(0, 1.0), (1, 1.0), (2, 1.0)]


def test_a_disabled_scaler_is_none(record: Make) -> None:
    training = Training(torch.optim.AdamW)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    recorder = record(training.optimizer, scaler=scaler)
    amp(training, recorder, scaler, [GOOD, GOOD])
    recorder.step(loss=9.0)
    assert counters(recorder) == [(0, 0, 0), (1, 1, 0)]


def test_a_saved_position_knows_attempts_and_updates(record: Make) -> None:
    training = Training(torch.optim.AdamW)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder = record(training.optimizer, scaler=scaler)
    amp(training, recorder, scaler, [GOOD, BAD, BAD, GOOD])
    position = recorder.position()
    assert (position.update, position.attempt) == (2, 4)
