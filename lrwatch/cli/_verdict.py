"""What makes a verdict fail: two options and the exit code, the same wherever there is a verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lrwatch.cli import base
from lrwatch.findings import Severity

if TYPE_CHECKING:
    from lrwatch.result import Result


def verdict_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--fail-on`` and ``--allow-inconclusive``."""
    for option in (
        click.option("--allow-inconclusive", is_flag=True,
                     help="Exit 0 when nothing is wrong but something could not be checked."),
        click.option("--fail-on", type=click.Choice([str(s) for s in reversed(Severity)]), default="error",
                     show_default=True, help="Lowest severity that fails."),
    ):  # fmt: skip
        command = option(command)
    return command


def exit_code(result: Result, fail_on: Severity, allow_inconclusive: bool) -> int:
    """What the process ends with."""
    verdict = result.verdict(fail_on)
    if verdict == "fail":
        return base.FINDINGS
    if not any(run.status == "ran" for run in result.checks):
        return base.CANNOT
    return base.OK if verdict == "pass" or allow_inconclusive else base.CANNOT
