"""Backfill into a real Prometheus, and a run read back from it."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lrwatch.cli import main
from lrwatch.contract import load
from lrwatch.errors import TraceError
from lrwatch.readers import open_trace
from lrwatch.readers.base import Options
from lrwatch.trace.model import Chunk
from lrwatch.verify import verify

FIXTURES = Path(__file__).parent / "fixtures"
BEGIN = 1767225600.0
"""Midnight of 1 January 2026."""

pytestmark = [pytest.mark.tool("prometheus"), pytest.mark.tool("promtool")]

LIVE = """# TYPE lrwatch_step gauge
{steps}
# TYPE lrwatch_learning_rate gauge
{rates}
# EOF
"""


def rates() -> list[float]:
    return [1e-3 * (t / 8 if t < 8 else 0.5 * (1 + math.cos(math.pi * (t - 8) / 32))) for t in range(40)]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str], free_port: Callable[[], int]
) -> Iterator[str]:
    home = tmp_path_factory.mktemp("prometheus")
    for rank in range(2):
        rows = "".join(f"{t},{lr!r},{'nan' if t == 7 else 2.5},{BEGIN + t / 1000!r}\n" for t, lr in enumerate(rates()))
        (home / f"rank{rank}.csv").write_text("step,lr,loss,ts\n" + rows)
    made = CliRunner().invoke(
        main,
        ["trace", "openmetrics", str(home / "rank0.csv"), str(home / "rank1.csv"), "--run-id", "a",
         "--output", str(home / "a.om")],
    )  # fmt: skip
    assert (made.exit_code, made.stderr) == (0, "240 samples\n")
    at = [(t, BEGIN + 15 * t) for t in range(0, 40, 3)]
    labels = 'run_id="b",rank="0"'
    (home / "b.om").write_text(
        LIVE.format(
            steps="\n".join(f"lrwatch_step{{{labels}}} {t} {ts}" for t, ts in at),
            rates="\n".join(f'lrwatch_learning_rate{{{labels},group="0"}} {rates()[t]!r} {ts}' for t, ts in at),
        )
    )
    for name in ("a.om", "b.om"):
        command = [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(home / name), str(home / "data")]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
    (home / "prometheus.yml").write_text("global: {}\n")
    port = free_port()
    process = subprocess.Popen(
        [tool("prometheus"), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 100
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=60).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "it is not ready"
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(100)


def query(server: str, expression: str, at: float) -> list[dict[str, Any]]:
    text = urllib.parse.urlencode({"query": expression, "time": at})
    with urllib.request.urlopen(f"http://{server}/api/v1/query?{text}", timeout=60) as answer:
        return list(json.load(answer)["data"]["result"])


def test_every_step_is_there_with_its_own_time(server: str) -> None:
    (series,) = query(server, 'lrwatch_trace_learning_rate{run_id="a",rank="1"}[1m]', BEGIN + 1)
    assert series["metric"] == {
        "__name__": "lrwatch_trace_learning_rate", "run_id": "a", "rank": "1", "group": "0"
    }  # fmt: skip
    assert [ts for ts, _ in series["values"]] == [round(BEGIN + t / 1000, 3) for t in range(40)]
    assert [float(text) for _, text in series["values"]] == rates()
    (loss,) = query(server, 'lrwatch_trace_loss{run_id="a",rank="0"}[1m]', BEGIN + 1)
    assert [text for _, text in loss["values"]][6:9] == ["2.5", "NaN", "2.5"]


def test_a_backfilled_run_is_verified_as_if_it_had_been_a_file(server: str) -> None:
    address = f"prometheus+http://{server}/?run_id=a&start={BEGIN - 7200}&end={BEGIN + 7200}"
    source = open_trace([address])
    result = verify(load(FIXTURES / "run.yaml"), source).result
    assert (result.verdict(), result.stats.rows, result.stats.ranks) == ("fail", 80, (0, 1))  # the NaN in the loss
    assert [f.slug for f in result.findings] == ["non-finite"]
    assert source.info.run == "a" and "samples" not in " ".join(source.info.assumed)


def test_scrapes_are_samples(server: str) -> None:
    address = f"prometheus+http://{server}/?start={BEGIN - 7200}&end={BEGIN + 7200}"
    source = open_trace([address], options=Options(run="b"))
    found = [c for c in source if isinstance(c, Chunk)]
    assert np.concatenate([c.columns["update"] for c in found]).tolist() == list(range(0, 40, 3))
    result = verify(load(FIXTURES / "run.yaml"), source).result
    assert result.verdict() == "pass"
    assert source.info.assumed == (
        f"run b as http://{server} kept it, 2025-12-31T22:00:00Z to 2026-01-01T02:00:00Z",
        "scrapes are samples: updates between two of them were not seen",
    )


def test_addresses_that_do_not_work(server: str) -> None:
    ask = f"prometheus+http://{server}/?start={BEGIN - 7200}&end={BEGIN + 7200}"
    with pytest.raises(TraceError, match=r"has no run 'c'; there are b$"):
        open_trace([ask + "&run_id=c"])
    with pytest.raises(TraceError, match=r"no series lrwatch_learning_rate from 1970"):
        open_trace([f"prometheus+http://{server}/?start=0&end=10"])
    with pytest.raises(TraceError, match=r"start and end are Unix seconds or e.g. -2h, not 'soon'$"):
        open_trace([f"prometheus+http://{server}/?end=soon"])
    with pytest.raises(TraceError, match=r"does not answer as Prometheus does: "):
        open_trace(["prometheus+http://127.0.0.1:9/"])
    with pytest.raises(TraceError, match=r"^prometheus\+http://\?run_id=a: has no host"):
        open_trace(["prometheus+http://?run_id=a"])
