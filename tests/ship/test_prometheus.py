"""Against a real Prometheus: what arrives is what was recorded, and one bad row costs nobody anything."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lrwatch.errors import LrwatchError
from lrwatch.ship import shipper as shipping
from lrwatch.ship.positions import Shipped
from lrwatch.ship.remote import Receiver
from lrwatch.ship.shipper import Shipper
from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import TraceWriter
from tests.ship.conftest import Prometheus, Stub

pytestmark = pytest.mark.tool("prometheus")
LR = "lrwatch_trace_learning_rate"


def record(
    run_dir: Path, times: list[float], first: int = 0, rank: int = 0, segment: int = 0, end: bool = True
) -> None:
    """A segment of a run: rate 1e-3/(update + 1), loss NaN at every seventh."""
    writer = TraceWriter(run_dir, rank, segment)
    about = {"run": "r", "world": 2}
    writer.write(Event("resume" if segment else "start", first, rank, segment, None, about))
    updates = np.arange(first, first + len(times))
    loss = np.where(updates % 7 == 3, np.nan, 1.0 + updates)
    columns = {"update": updates, "lr/0": 1e-3 / (updates + 1), "loss": loss, "ts": np.array(times)}
    writer.write(Chunk(columns, rank=rank, segment=segment))
    if end:
        writer.write(Event("end", first + len(times), rank, segment))
    writer.close()


def ship(run_dir: Path, server: Prometheus | Stub, once: bool = True) -> Shipped:
    return Shipper(run_dir, Receiver(server.url), {}).ship(once)


def test_every_step_arrives_with_its_own_time_and_value(tmp_path: Path, receiver: Prometheus) -> None:
    begin = math.floor(time.time()) - 600
    times = [begin + 0.001 * i for i in range(1300)]  # a thousand steps a second
    record(tmp_path, times)
    done = ship(tmp_path, receiver, once=False)  # it ends with the run
    assert (done.rows, done.samples, done.requests, done.moved, done.refused) == (1300, 3 * 1300, 3, 0, 0)
    assert ship(tmp_path, receiver, once=False).requests == 0  # everything is there already, and it has ended
    got = receiver.samples(f'{LR}{{run_id="r",rank="0",group="0"}}')
    assert [v for _, v in got] == [1e-3 / (i + 1) for i in range(1300)]
    assert [round(t * 1000) for t, _ in got] == [begin * 1000 + i for i in range(1300)]
    losses = receiver.samples('lrwatch_trace_loss{run_id="r",rank="0"}')
    assert [math.isnan(v) for _, v in losses[:5]] == [False, False, False, True, False]
    assert receiver.samples("lrwatch_trace_step")[-1] == (times[-1], 1299.0)


def test_workers_of_a_long_run_advance_together(tmp_path: Path, receiver: Prometheus) -> None:
    """One after the other the second would be refused: an hour behind the newest sample is out of bounds."""
    begin = time.time() - 5 * 3600
    for rank in range(2):
        record(tmp_path, [begin + 10.0 * i + rank for i in range(1700)], rank=rank)
    done = ship(tmp_path, receiver)
    assert (done.rows, done.refused) == (3400, 0)
    assert len(receiver.samples(f'{LR}{{rank="1"}}', window="6h")) == 1700


def test_a_clock_of_the_future_blocks_nobody(tmp_path: Path, receiver: Prometheus) -> None:
    now = time.time()
    record(tmp_path / "a", [now - 2, now - 1, *(now + 3 * 3600 + i for i in range(40))])
    done = ship(tmp_path / "a", receiver)
    assert (done.rows, done.moved, done.refused) == (42, 40, 0)
    got = receiver.samples(LR)
    assert len(got) == 42 and got[-1][0] <= time.time()
    record(tmp_path / "b", [time.time()], rank=1)  # a sample of now is still taken
    assert ship(tmp_path / "b", receiver).refused == 0


def test_clocks_that_go_back_or_stand_still_keep_every_row(tmp_path: Path, receiver: Prometheus) -> None:
    begin = math.floor(time.time()) - 100
    record(tmp_path, [begin, begin + 1, begin + 1, begin + 1, begin - 50, begin + 2], end=False)
    record(tmp_path, [begin - 30, begin + 3], first=4, segment=1)  # a rollback, on a machine whose clock is behind
    assert (ship(tmp_path, receiver).rows, ship(tmp_path, receiver).rows) == (8, 0)
    got = receiver.samples("lrwatch_trace_step")
    assert [v for _, v in got] == [0, 1, 2, 3, 4, 5, 4, 5]
    assert [round((t - begin) * 1000) for t, _ in got] == [0, 1000, 1001, 1002, 1003, 2000, 2001, 3000]


def test_rows_that_are_too_old_are_left_out_and_the_others_are_not(
    tmp_path: Path, receiver: Prometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    record(tmp_path / "present", [now], rank=1)
    ship(tmp_path / "present", receiver)
    record(tmp_path / "old", [now - 7200 + i for i in range(400)] + [now - 60 + i for i in range(20)])
    done = ship(tmp_path / "old", receiver)
    assert (done.rows, done.refused, done.complete) == (20, 400, False)
    assert done.requests < 20 and "out of bounds" in done.sentence()
    assert "refuses rows, they are left out (400 " in capsys.readouterr().err
    assert [v for _, v in receiver.samples('lrwatch_trace_step{rank="0"}')] == list(range(400, 420))


def test_a_row_that_the_server_has_from_elsewhere_costs_only_itself(tmp_path: Path, receiver: Prometheus) -> None:
    """Somebody wrote a later sample into the series: what is behind it is refused, with the whole request."""
    begin = math.floor(time.time()) - 100
    record(tmp_path / "a", [begin + 10.5])
    ship(tmp_path / "a", receiver)
    record(tmp_path / "b", [begin + i for i in range(15)])
    done = ship(tmp_path / "b", receiver)
    assert (done.rows, done.refused) == (4, 11)
    assert len(receiver.samples("lrwatch_trace_step")) == 5


def test_it_goes_on_where_it_was_killed(tmp_path: Path, receiver: Prometheus) -> None:
    begin = time.time() - 500
    run = tmp_path / "run"
    record(run, [begin + i * 0.01 for i in range(900)], end=False)
    command = [sys.executable, "-m", "lrwatch", "ship", str(run), "--to", receiver.url, "--label", "cluster=a"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    selector = 'lrwatch_trace_step{cluster="a"}'
    deadline = time.monotonic() + 100
    while len(receiver.samples(selector)) < 900 and time.monotonic() < deadline:
        time.sleep(0.05)
    record(run, [begin + 10 + i * 0.01 for i in range(50)], first=900, segment=1, end=False)
    while len(receiver.samples(selector)) < 950 and time.monotonic() < deadline:
        time.sleep(0.05)
    again = subprocess.run([*command, "--once"], env=environment, capture_output=True, text=True)
    assert again.returncode == 2 and "another process ships this run to" in again.stderr
    process.send_signal(signal.SIGKILL)
    process.wait()
    record(run, [begin + 20 + i * 0.01 for i in range(100)], first=950, segment=2)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "lrwatch: shipped 100 rows (300 samples)\n")
    assert [v for _, v in receiver.samples(selector)] == list(range(1050))


@pytest.mark.parametrize("arrived", [True, False])
def test_killed_while_a_block_was_on_its_way(tmp_path: Path, receiver: Prometheus, arrived: bool) -> None:
    """Nobody knows whether it arrived. It is sent once more, the very same, and either way it is there once."""
    now = time.time()
    record(tmp_path, [now - 100 + i for i in range(50)] + [now + 500 + i for i in range(5)], end=False)
    worker = Shipper(tmp_path, Receiver(receiver.url), {})

    class Killed(BaseException): ...

    def killed(*_: object) -> None:
        raise Killed

    worker._took = killed  # type: ignore[method-assign]
    if not arrived:
        worker._post = killed  # type: ignore[assignment, method-assign]
    with pytest.raises(Killed):
        worker.ship(once=True)
    record(tmp_path, [time.time()], first=55, segment=1)
    done = ship(tmp_path, receiver)
    assert (done.rows, done.refused) == (56, 0)
    assert [v for _, v in receiver.samples("lrwatch_trace_step")] == list(range(56))


def test_a_server_that_does_not_receive_says_what_to_do(
    tmp_path: Path, prometheus: Callable[..., Prometheus]
) -> None:
    record(tmp_path, [time.time()])
    with pytest.raises(LrwatchError, match=r"answers 404 .*--web.enable-remote-write-receiver"):
        ship(tmp_path, prometheus())


def test_out_of_order_windows_refuse_with_a_500_that_is_not_tried_again(
    tmp_path: Path, stub: Callable[..., Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "BACKOFF", (0.01, 0.01))
    server = stub((500, "too old sample"), 204)
    record(tmp_path, [time.time() - 8000, time.time()])
    done = ship(tmp_path, server)
    assert (done.rows, done.refused, len(server.bodies)) == (1, 1, 2)


def test_what_may_succeed_later_is_tried_again_and_what_cannot_is_not(
    tmp_path: Path, stub: Callable[..., Stub], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipping, "BACKOFF", (0.01, 0.02))
    server = stub(503, (429, "slow down", {"Retry-After": "0"}), (500, "ingester is away"), 204)
    record(tmp_path, [time.time() - 1, time.time()])
    done = ship(tmp_path, server)
    assert (done.rows, done.requests, len(set(server.bodies))) == (2, 4, 1)
    said = capsys.readouterr().err
    assert said.count("trying again, nothing is lost") == 1 and said.count("answers again") == 1
    assert server.headers[0]["Content-Encoding"] == "snappy"
    assert server.headers[0]["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    record(tmp_path, [time.time()], first=2, segment=1)
    for status, remedy in ((401, "--token-file"), (301, "redirects are not followed"), (404, "check the path")):
        refusing = stub((status, "no"), (status, "no"))
        with pytest.raises(LrwatchError, match=remedy):
            ship(tmp_path, refusing)
        assert len(refusing.bodies) == 1


def test_a_receiver_that_refuses_everything_is_not_asked_row_by_row(
    tmp_path: Path, stub: Callable[..., Stub]
) -> None:
    record(tmp_path, [time.time() - 400 + i * 0.1 for i in range(1000)])
    server = stub((400, "no such tenant"))
    done = ship(tmp_path, server)
    assert (done.rows, done.refused) == (0, 1000) and len(server.bodies) < 80
    assert done.sentence() == "shipped 0 rows (0 samples); 1,000 refused: 400 no such tenant"


def test_a_clock_that_is_ahead_of_the_receivers_does_not_count(tmp_path: Path, stub: Callable[..., Stub]) -> None:
    """This machine says it is now, the receiver says it was now an hour ago."""
    server = stub((503, "", {"Date": "x"}))
    now = time.time()
    receiver = Receiver(server.url)
    receiver._look_at_clock(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now - 3600)))
    assert receiver.now() / 1000 == pytest.approx(now - 3600, abs=100)
    receiver._look_at_clock(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 3600)))
    assert receiver.now() / 1000 == pytest.approx(now, abs=100)


def test_rows_without_a_time_and_damaged_lines_are_counted(tmp_path: Path, stub: Callable[..., Stub]) -> None:
    record(tmp_path, [time.time()], end=False)
    with (tmp_path / "trace" / "rank00000-seg0000.jsonl").open("a") as file:
        file.write('{"update":1,"lr":0.1}\n{"update":2,"lr":0.1,"ts":5}\nnonsense\n')
        file.write(json.dumps({"update": 3, "lr": 0.1, "ts": time.time() + 500}) + '\n{"update":4,"lr":0.')
    done = ship(tmp_path, stub(204))
    assert (done.rows, done.untimed, done.damaged) == (2, 2, 1)
    assert done.sentence() == (
        "shipped 2 rows (5 samples); 1 with another time, because their clock was ahead, went back or stood still; "
        "2 have no time and cannot be shipped; 1 places could not be read"
    )
