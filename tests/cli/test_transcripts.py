"""Whole commands as a user types them: files, command lines, exact output, exit codes.

A transcript is a text file::

    # What it shows.
    == contract.yaml                the lines below are that file, until the next == or $
    == trace.bin (base64)           the same, encoded
    $ lrwatch verify contract.yaml  run in a directory with these files; by bash, if it has more than words
    PASS ...                        standard output, exactly; [..] stands for anything within a line
    2> lrwatch: ...                 standard error, exactly
    [exit 0]

``UPDATE_TRANSCRIPTS=1 pytest tests/cli/test_transcripts.py`` writes what happens into them; read the diff.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from lrwatch.cli import main

ROOT = Path(__file__).parents[2]
UNWANTED = ("NO_COLOR", "COLUMNS", "LRWATCH_DEBUG")
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@dataclass
class Step:
    command: str
    output: list[str] = field(default_factory=list)
    """Its lines as they stand in the transcript, the exit code last."""


@dataclass
class Transcript:
    head: list[str] = field(default_factory=list)
    """Everything before the first command, as it stands in the file."""
    files: dict[str, bytes] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def parse(text: str) -> Transcript:
    transcript, name, encoded = Transcript(), "", False
    for line in text.splitlines():
        if line.startswith("$ "):
            transcript.steps.append(Step(line[2:]))
        elif transcript.steps:
            transcript.steps[-1].output.append(line)
        else:
            transcript.head.append(line)
            if match := re.fullmatch(r"== (\S+)( \(base64\))?", line):
                name, encoded = match[1], bool(match[2])
                transcript.files[name] = b""
            elif name:
                transcript.files[name] += base64.b64decode(line) if encoded else line.encode() + b"\n"
            else:
                assert line.startswith("#") or not line, f"not a comment, file or command: {line}"
    for step in transcript.steps:
        while step.output and not step.output[-1]:
            step.output.pop()
    return transcript


def run(command: str, where: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The output of a command as a transcript shows it."""
    if re.fullmatch(r"lrwatch [\w .,:=/+-]*", command):  # in this process: starting another one takes most of the time
        monkeypatch.chdir(where)
        for name in UNWANTED:
            monkeypatch.delenv(name, raising=False)
        result = CliRunner().invoke(main, command.split()[1:])
        out, err, code = result.stdout, result.stderr, result.exit_code
    else:
        environment = {k: v for k, v in os.environ.items() if k not in UNWANTED}
        path = f"{shim}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=where,
            env=environment | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=200,
        )
        out, err, code = done.stdout, done.stderr, done.returncode
    lines = out.splitlines() + ["2> " + line for line in err.splitlines()]
    return [line.rstrip() for line in lines] + [f"[exit {code}]"]


def same(expected: list[str], actual: list[str]) -> bool:
    def pattern(line: str) -> str:
        return ".*".join(map(re.escape, line.split("[..]")))

    return len(expected) == len(actual) and all(
        re.fullmatch(pattern(e), a) for e, a in zip(expected, actual, strict=True)
    )


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the ``lrwatch`` command of this checkout."""
    place = tmp_path_factory.mktemp("bin")
    command = place / "lrwatch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m lrwatch "$@"\n')
    command.chmod(0o755)
    return place


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = parse(path.read_text(encoding="utf-8"))
    assert transcript.steps, "no command in it"
    for name, content in transcript.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    results = [run(step.command, tmp_path, shim, monkeypatch) for step in transcript.steps]
    right = [same(step.output, result) for step, result in zip(transcript.steps, results, strict=True)]
    if os.environ.get("UPDATE_TRANSCRIPTS") and not all(right):
        lines = list(transcript.head)
        for step, result, ok in zip(transcript.steps, results, right, strict=True):
            lines += ["$ " + step.command, *(step.output if ok else result), ""]
        path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    for step, result, ok in zip(transcript.steps, results, right, strict=True):
        if not ok:
            assert ["$ " + step.command, *result] == ["$ " + step.command, *step.output]


def test_a_wrong_transcript_is_noticed(tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(["a [..] b"], ["a 1 b"])
    assert not same(["a [..] b"], ["a 1 c"])
    assert not same(["a"], ["a", "b"])
    shell = run("printf 'x\\ny\\n'; echo oops >&2; exit 3", tmp_path, shim, monkeypatch)
    assert shell == ["x", "y", "2> oops", "[exit 3]"]
    by_bash = run("lrwatch explain zzz; exit $?", tmp_path, shim, monkeypatch)
    assert run("lrwatch explain zzz", tmp_path, shim, monkeypatch) == by_bash
    assert by_bash[-1] == "[exit 2]"
