"""``lrwatch tail`` as its user has it: a pipe behind a trainer, a log, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from lrwatch.contract import load
from lrwatch.readers import open_trace
from lrwatch.verify import verify
from tests.tail.helpers import CONTRACT, log, rows, start, until

TRAINER = """\
import sys, time
sys.stdout.buffer.write(b"loading \\xff\\xfe data\\r\\n")
for i, line in enumerate(open(sys.argv[1])):
    sys.stdout.write(line); sys.stdout.flush()
    if i == 49:
        open(sys.argv[2], "w").close()
        while open(sys.argv[2]).read() == "": time.sleep(0.05)
sys.stdout.write("saved")
"""


def test_behind_a_pipe(tmp_path: Path) -> None:
    """The trainer's text is handed on untouched; findings, metrics, trace, summary and exit code are verify's."""
    (tmp_path / "c.yaml").write_text(CONTRACT)
    (tmp_path / "lines").write_text(log(0, 100, wrong_from=1))
    gate = tmp_path / "gate"
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(tmp_path / "lines"), str(gate)], stdout=subprocess.PIPE
    )
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        tail = start(
            "-", "--contract", "c.yaml", "--run-dir", "run", cwd=tmp_path, stdin=trainer.stdout, stdout=out, stderr=err,
        )  # fmt: skip
    assert trainer.stdout is not None
    trainer.stdout.close()
    until(gate.exists)
    said = tmp_path / "err"
    until(lambda: "LR101" in said.read_text())  # while the trainer waits
    url = re.findall(r"http://\S+", said.read_text())[0]

    def scraped() -> str:
        text: str = urllib.request.urlopen(url).read().decode()
        return text if 'code="LR101",rank="0",run_id="run",severity="error"} 1.0' in text else ""

    metrics = until(scraped)
    assert 'lrwatch_step{rank="0",run_id="run"} 49.0' in metrics
    assert 'lrwatch_steps_total{rank="0",run_id="run"} 50.0' in metrics
    assert 'lrwatch_run_state{rank="0",run_id="run",state="running"} 1.0' in metrics
    gate.write_text("go on")
    assert (trainer.wait(100), tail.wait(100)) == (0, 1)
    text = (tmp_path / "lines").read_bytes()
    assert (tmp_path / "out").read_bytes() == b"loading \xff\xfe data\r\n" + text + b"saved"
    lines = said.read_text().splitlines()
    assert len([line for line in lines if line.startswith("lrwatch: error LR101 drift: group 0 used ")]) == 1
    assert lines[-2:] == [
        "FAIL  The learning rate is multiplied by 1.1; first bad step 1.",
        "More: lrwatch verify run",
    ]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["verdict"], summary["outcome"], summary["rows"]) == ("fail", "finished", 100)
    offline = verify(load(tmp_path / "c.yaml"), open_trace([tmp_path / "run"])).result
    assert [(f.code, f.first_step) for f in offline.findings] == [("LR101", 1)]


def test_ctrl_c_ends_with_the_verdict_after_the_trainers_last_words(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONTRACT)
    tail = start("-", "--contract", "c.yaml", "--run-dir", "run", "--quiet", cwd=tmp_path)
    assert tail.stdin is not None and tail.stderr is not None
    tail.stdin.write(log(0, 40))
    tail.stdin.flush()
    until(lambda: len(rows(tmp_path / "run")) == 40)
    tail.send_signal(signal.SIGINT)
    tail.stdin.write(log(40, 42))
    out, err = tail.communicate(timeout=200)
    assert (tail.returncode, out) == (0, "")
    assert "PASS  The run kept its promise in steps 0–41; 1 lesser finding." in err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["outcome"], summary["verdict"], summary["rows"]) == ("interrupted", "pass", 42)


def test_killed_and_started_again(tmp_path: Path) -> None:
    """Of a log nothing is lost and nothing is twice; SIGTERM ends it with the verdict."""
    (tmp_path / "c.yaml").write_text(CONTRACT)
    path = tmp_path / "train.log"
    path.write_text(log(0, 50))
    arguments = ("train.log", "--contract", "c.yaml", "--run-dir", "run")
    first = start(*arguments, cwd=tmp_path, stderr=subprocess.DEVNULL)
    until(lambda: len(rows(tmp_path / "run")) == 50)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "run" / "summary.json").exists()
    with path.open("a") as file:
        file.write(log(50, 100))
    second = start(*arguments, cwd=tmp_path)
    until(lambda: len(rows(tmp_path / "run")) == 100)
    second.terminate()
    _, err = second.communicate(timeout=200)
    assert second.returncode == 0 and "PASS  The run kept its promise in steps 0–99" in err
    assert [json.loads(row)["update"] for row in rows(tmp_path / "run")] == list(range(100))
    assert verify(load(tmp_path / "c.yaml"), open_trace([tmp_path / "run"])).result.findings == ()


def test_when_nobody_reads_its_output_any_more_it_goes_on_watching(tmp_path: Path) -> None:
    """``… | lrwatch tail - … | head -1``: the trainer must not die of it."""
    (tmp_path / "c.yaml").write_text(CONTRACT)
    read, write = os.pipe()
    tail = start("-", "--contract", "c.yaml", "--run-dir", "run", cwd=tmp_path, stdout=write)
    os.close(write)
    os.close(read)
    _, err = tail.communicate(log(0, 100), timeout=200)
    assert (tail.returncode, "PASS" in err) == (0, True)


def test_what_is_wrong_is_said_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(CONTRACT.replace("horizon: 100", "horzon: 100"))
    (tmp_path / "c.yaml").write_text(CONTRACT)
    (tmp_path / "train.log").write_text("hello\n")
    for arguments, said in (
        (("-", "--contract", "bad.yaml"), "bad.yaml: clock.horzon: is not a known key"),
        (("-", ), "against what? --contract CONTRACT"),
        (("-", "--contract", "c.yaml", "--no-contract"), "exclude each other"),
        (("train.log", "--contract", "c.yaml", "--until-idle", "0.1"), "no line of it is of a trace that lrwatch"),
    ):  # fmt: skip
        tail = start(*arguments, cwd=tmp_path)
        out, err = tail.communicate("", timeout=200)
        assert (tail.returncode, out) == (2, "") and said in err and "Traceback" not in err
    assert not (tmp_path / "run").exists()
