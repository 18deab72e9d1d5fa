"""The path of values that live on a device, driven on the CPU: a tensor class that is not on the CPU by its own
account, a device module whose events tell later, and a dispatch mode that refuses what would wait for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lrwatch.agent import device
from lrwatch.agent.origin import Locator, Origin
from lrwatch.agent.recorder import Recorder
from tests.agent.helpers import Training, notes, rows

Make = Callable[..., Recorder]


class Far(torch.Tensor):
    """A tensor that says it is not on the CPU."""

    is_cpu = property(lambda self: False)  # type: ignore[assignment]


def far(value: float) -> torch.Tensor:
    return torch.tensor(value).as_subclass(Far)


class NoSync(TorchDispatchMode):
    """Refuses ``.item()``: on a device it would wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("this would wait for the device")
        return func(*args, **(kwargs or {}))


class Module:
    """Stands in for ``torch.cuda``: copies arrive when ``arrived`` says so."""

    def __init__(self) -> None:
        self.arrived = self.capturing = False
        self.waited = 0
        module = self

        class Event:
            def record(self, stream: object) -> None: ...
            def query(self) -> bool:
                assert not module.capturing, "a query during capture breaks the capture"
                return module.arrived

            def synchronize(self) -> None:
                module.waited += 1

        self.Event = Event

    def current_stream(self, device: object) -> None: ...
    def is_current_stream_capturing(self) -> bool:
        return self.capturing


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    module = Module()
    monkeypatch.setattr(device, "_copies", {torch.device("cpu"): device.Copies(module, "gpu", slots=8, pin=False)})
    with NoSync():
        yield module


def train(training: Training, recorder: Recorder, losses: list[float]) -> None:
    for loss in losses:
        training.optimizer.step()
        value = far(loss)
        recorder.step(loss=value)
        value.fill_(-1.0)  # what happens to it later is not what was recorded


def test_rows_wait_for_their_values_and_keep_their_order(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [1.0, 2.0])
    recorder.event("checkpoint", {"path": "x"})
    training.optimizer.step()
    recorder.step(loss=3.0)
    assert rows(recorder) == []
    gpu.arrived = True
    training.optimizer.step()
    recorder.step(loss=4.0)
    assert [(r["update"], r["loss"]) for r in rows(recorder)] == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
    assert [(n.kind, n.update) for n in notes(recorder)] == [("start", 0), ("checkpoint", 2)]
    assert (recorder.errors, gpu.waited) == (0, 0)


def test_a_tensor_learning_rate_is_copied_too(gpu: Module, record: Make) -> None:
    training = Training(lr=0.1)
    rate = training.optimizer.param_groups[0]["lr"] = far(0.5)
    recorder = record(training.optimizer)
    recorder.before_update(training.optimizer, (), {})
    recorder.event("checkpoint", {})  # between the two calls of an update
    rate.fill_(0.25)
    recorder.step()
    gpu.arrived = True
    recorder.before_update(training.optimizer, (), {})
    recorder.step()
    assert [r["lr/0"] for r in rows(recorder)] == [0.5, 0.25]


def test_rows_that_wait_keep_their_columns_when_a_group_is_added(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [1.0])
    training.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.7})
    train(training, recorder, [2.0])
    gpu.arrived = True
    train(training, recorder, [3.0])
    assert [(r["lr/0"], r.get("lr/1")) for r in rows(recorder)] == [(0.1, None), (0.1, 0.7), (0.1, 0.7)]


def test_a_restart_comes_after_the_rows_that_wait(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [1.0, 2.0])
    recorder.restart(Origin(0, 0, "state"))
    train(training, recorder, [3.0])
    recorder.close("finished")
    kinds = ["row" if isinstance(item, tuple) else getattr(item, "kind", "columns") for item in recorder.ring]
    assert kinds == ["start", "columns", "row", "row", "resume", "columns", "row", "end"]
    assert [r["update"] for r in rows(recorder)] == [0, 1, 0]


def test_values_of_events_are_filled_in_when_they_arrive(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [1.0])
    recorder.event("validation", {"metrics": {"val_loss": far(2.5)}})
    assert [n.kind for n in notes(recorder)] == ["start"]
    gpu.arrived = True
    train(training, recorder, [1.0])
    assert notes(recorder)[1].fields == {"metrics": {"val_loss": 2.5}}


def test_the_end_waits_for_what_is_on_its_way(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [1.0, 2.0])
    recorder.close("finished")
    assert [r["loss"] for r in rows(recorder)] == [1.0, 2.0]
    assert gpu.waited == 2


def test_during_graph_capture_nothing_is_queued_or_asked(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [1.0])
    gpu.capturing = True
    train(training, recorder, [2.0])
    gpu.capturing, gpu.arrived = False, True
    train(training, recorder, [3.0])
    assert [r.get("loss") for r in rows(recorder)] == [1.0, None, 3.0]
    assert recorder.errors == 0


def test_without_a_free_slot_the_value_is_left_out(gpu: Module, training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    train(training, recorder, [float(n) for n in range(10)])
    gpu.arrived = True
    train(training, recorder, [10.0, 11.0])
    assert [r.get("loss") for r in rows(recorder)] == [0, 1, 2, 3, 4, 5, 6, 7, None, None, None, 11.0]


def test_what_a_fused_optimizer_was_told_arrives_later(gpu: Module, record: Make) -> None:
    """Update 1 is skipped, which is known only after update 2 was recorded."""
    training = Training(torch.optim.AdamW, fused=True)
    recorder = record(training.optimizer)
    for loss, found in ((1.0, 0.0), (2.0, 1.0), (3.0, 0.0)):
        training.optimizer.found_inf = far(found)  # type: ignore[attr-defined]
        recorder.before_update(training.optimizer, (), {})
        recorder.step(loss=loss)
        recorder.event("checkpoint", {})
    gpu.arrived = True
    position = recorder.position()
    assert (position.update, position.attempt) == (2, 3)
    assert [(r["update"], r["attempt"], r.get("skipped", 0)) for r in rows(recorder)] == [
        (0, 0, 0), (1, 1, 1), (1, 2, 0),
    ]  # fmt: skip
    assert [n.update for n in notes(recorder)] == [0, 1, 1, 2]


def test_a_skip_without_a_hook_is_decided_later(gpu: Module, record: Make) -> None:
    class Scaler:
        _growth_tracker = far(0.0)

    training = Training(torch.optim.AdamW)
    recorder = record(training.optimizer, scaler=Scaler())
    for hook in (True, False, True):
        if hook:
            recorder.before_update(training.optimizer, (), {})
        recorder.step(loss=1.0)
    gpu.arrived = True
    recorder.event("checkpoint", {})
    assert [(r["update"], r["attempt"], r.get("skipped", 0)) for r in rows(recorder)] == [
        (0, 0, 0), (1, 1, 1), (1, 2, 0),
    ]  # fmt: skip


def test_a_step_without_a_hook_that_was_no_skip_is_no_row(gpu: Module, record: Make) -> None:
    class Scaler:
        _growth_tracker = far(3.0)

    training = Training(torch.optim.AdamW)
    recorder = record(training.optimizer, scaler=Scaler())
    for hook in (True, False, True):
        if hook:
            recorder.before_update(training.optimizer, (), {})
        recorder.step(loss=1.0)
    gpu.arrived = True
    recorder.event("checkpoint", {})
    assert [(r["update"], r["attempt"]) for r in rows(recorder)] == [(0, 0), (1, 1)]


def test_a_meta_tensor_is_no_value_and_no_wait(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    with NoSync():
        training.optimizer.step()
        recorder.step(loss=torch.empty((), device="meta"), grad_norm=1.0)
    assert rows(recorder) == [{"update": 0, "attempt": 0, "grad_norm": 1.0, "lr/0": 0.1}]
    assert recorder.errors == 0


def test_only_a_replicated_dtensor_is_read() -> None:
    """Reading any other would be a collective: a worker that skips it hangs the rest."""

    class Placement:
        def __init__(self, replicated: bool):
            self.replicated = replicated

        def is_replicate(self) -> bool:
            return self.replicated

    class Shard(torch.Tensor):
        placements: tuple[Placement, ...]

        def to_local(self) -> torch.Tensor:
            return torch.tensor(7.0)

    for placements, expected in (((True, True), 7.0), ((True, False), None)):
        tensor = torch.tensor(1.0).as_subclass(Shard)
        tensor.placements = tuple(map(Placement, placements))
        assert device.read(tensor) == expected


def test_the_compiler_is_kept_out_without_a_wrapper() -> None:
    traced: list[str] = []

    def compiled(name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
        def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
            traced.append(name)
            return graph.forward

        return torch.compile(function, backend=backend)  # type: ignore[return-value]

    def plain(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    def kept_out(x: torch.Tensor) -> torch.Tensor:
        return sum([y + 1 for y in (x,)])  # type: ignore[return-value]

    device.untraced(kept_out)
    assert compiled("plain", plain)(torch.ones(())) == 2
    assert compiled("kept out", kept_out)(torch.ones(())) == 2
    assert traced == ["plain"]


# -- what is asked outside of a step, and what only the training thread may ask ------------------------------------


def test_the_count_of_a_fused_optimizer_is_read_before_training_or_when_it_is_loaded() -> None:
    """On a device Adam's ``step`` lives there, too; no step waits for it."""

    def trained(updates: int) -> torch.optim.Optimizer:
        training = Training(torch.optim.AdamW)
        for _ in range(updates):
            training.backward()
            training.optimizer.step()
        for state in training.optimizer.state.values():
            state["step"] = far(float(state["step"]))
        return training.optimizer

    before = Locator(trained(5))
    before.watch_loading()
    after = Locator(fresh := trained(0))
    after.watch_loading()
    fresh.load_state_dict(trained(3).state_dict())
    with NoSync():
        assert before.locate() == Origin(5, 5, "optimizer")
        assert after.locate() == Origin(3, 3, "optimizer")
    fresh.load_state_dict(trained(2).state_dict())
    assert after.counted == 3, "the run has begun; nothing listens any more"


def test_the_training_thread_looks_how_full_the_device_is_when_it_is_asked(
    training: Training, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(device, "memory", lambda where: looked.append(where) or (3, 4))
    recorder = record(training.optimizer)
    recorder.ask_memory()
    train(training, recorder, [1.0])
    assert recorder.memory is None, "there is no device"
    recorder._cuda = torch.device("cuda:1")
    train(training, recorder, [1.0])
    assert looked == []
    recorder.ask_memory()
    train(training, recorder, [1.0, 1.0, 1.0])
    assert looked == [torch.device("cuda:1")]
    assert recorder.memory == (3, 4)
    assert [row["update"] for row in rows(recorder)] == [0, 1, 2, 3, 4]


def test_the_allocators_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {f"{kind}_bytes": {"all": {"current": n, "peak": 9}} for kind, n in (("allocated", 5), ("reserved", 7))}
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda device: stats)
    assert device.memory(torch.device("cuda:0")) == (5, 7)
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda device: {})  # before its first allocation
    assert device.memory(torch.device("cuda:0")) is None
