"""A promise made of options: the contract it stands for, and what is refused."""

from __future__ import annotations

from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lrwatch.cli._promise import promise_options, promised
from lrwatch.curve import Curve
from lrwatch.errors import ContractError


def given(*args: str) -> tuple[Any, Result]:
    """What ``promised`` makes of the options, and how the command ended."""
    found: list[Any] = []

    @click.command()
    @promise_options
    @click.pass_context
    def command(ctx: click.Context) -> None:
        found.append(promised(ctx))

    result = CliRunner().invoke(command, args)
    return (found or [None])[0], result


@pytest.mark.parametrize(
    ("args", "horizon", "points"),
    [
        (
            "--cosine --lr 3e-4 --warmup 500 --steps 10000",
            10000.0,
            # half way up, at the peak, half way down ((10000 - 500) / 2 + 500), at the end
            {0: 0.0, 250: 1.5e-4, 500: 3e-4, 5250: 1.5e-4, 10000: 0.0},
        ),
        (
            "--linear --lr 1.0 --steps 100 --min-lr 0.5",
            100.0,
            {0: 1.0, 50: 0.75, 100: 0.5, 200: 0.5},
        ),
        ("--constant --lr 0.1", None, {0: 0.1, 10**6: 0.1}),
        ("--constant --lr 0.1 --warmup 10 --steps 50", 50.0, {0: 0.0, 5: 0.05, 10: 0.1, 49: 0.1}),
        ("--inverse-sqrt --lr 1.0 --warmup 100", None, {0: 0.0, 100: 1.0, 400: 0.5}),
    ],
)
def test_the_contract_it_stands_for(args: str, horizon: float | None, points: dict[int, float]) -> None:
    contract, result = given(*args.split())
    assert result.exit_code == 0, result.output
    assert (contract.source, contract.experiment, contract.horizon) == ("command line", "", horizon)
    values = Curve(contract).at(np.array(list(points), dtype=float))
    assert values == pytest.approx(list(points.values()), rel=1e-12, abs=1e-18)


def test_without_these_options_there_is_no_promise() -> None:
    contract, result = given()
    assert (contract, result.exit_code) == (None, 0)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--lr 3e-4 --steps 100", "--lr belongs to a promise: add --constant, --linear, --cosine or --inverse-sqrt"),
        ("--steps 100", "--steps belongs to a promise: add --constant, --linear, --cosine or --inverse-sqrt"),
        ("--cosine --lr 3e-4", "--cosine needs --steps"),
        ("--cosine --steps 100", "--cosine needs --lr"),
        ("--inverse-sqrt --lr 1", "--inverse-sqrt needs --warmup"),
        ("--constant --lr 1 --min-lr 0.1", "--constant has no end value: leave --min-lr out"),
        ("--cosine --linear --lr 1", "--linear and --cosine are two promises: give one, or a contract file"),
    ],
)
def test_half_a_promise_is_refused(args: str, said: str) -> None:
    _, result = given(*args.split())
    assert result.exit_code == 2
    assert f"Error: {said}\n" in result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--cosine --lr -1 --steps 100", "command line: lr.base: must be > 0, got -1"),
        ("--cosine --lr 1 --steps -100", "command line: clock.horizon: must be > 0, got -100"),
        (
            "--cosine --lr 1 --steps 100 --warmup -5",
            "command line: lr.schedule[0].linear.for: must be > 0, got -5",
        ),
        (
            "--cosine --lr 1 --steps 100 --warmup 100",
            "command line: lr.schedule[1].cosine.until: must be > 100, where the phase begins, got 100",
        ),
    ],
)
def test_numbers_are_judged_by_the_grammar_of_contracts(args: str, said: str) -> None:
    _, result = given(*args.split())
    assert isinstance(result.exception, ContractError)
    assert str(result.exception) == said
