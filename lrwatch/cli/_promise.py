"""A contract from options, for a schedule so plain that a file would be too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from lrwatch.contract import Contract

FAMILIES: Final = ("constant", "linear", "cosine", "inverse_sqrt")
"""The families that a value, a warm-up and a number of steps describe completely."""
_SOURCE: Final = "command line"


def promise_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--constant --linear --cosine --inverse-sqrt --lr --warmup --steps --min-lr``, passed on as ``promise``."""

    def gather(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        ctx.ensure_object(dict)[param.name] = value

    def option(*names: str, **kwargs: Any) -> None:
        nonlocal command
        command = click.option(*names, expose_value=False, callback=gather, **kwargs)(command)

    option("--min-lr", type=float, metavar="LR", help="Promise: value at the end of --linear or --cosine, default 0.")
    option("--steps", type=float, metavar="N", help="Promise: updates until the end.")
    option("--warmup", type=float, metavar="N", help="Promise: updates of a straight line from 0 to --lr before it.")
    option("--lr", type=float, metavar="LR", help="Promise: the peak, e.g. 3e-4.")
    for family in reversed(FAMILIES):
        option(f"--{family.replace('_', '-')}", family, is_flag=True, help=f"Promise this family: {family}.")
    return command


def promised(ctx: click.Context) -> Contract | None:
    """The contract that the options describe, None when they describe none."""
    options: dict[str, Any] = ctx.ensure_object(dict)
    families = [family for family in FAMILIES if options.get(family)]
    numbers = [name for name in ("lr", "warmup", "steps", "min_lr") if options.get(name) is not None]
    if not families:
        if numbers:
            choice = f"{', '.join(map(_flag, FAMILIES[:-1]))} or {_flag(FAMILIES[-1])}"
            raise click.UsageError(f"{_flag(numbers[0])} belongs to a promise: add {choice}", ctx)
        return None
    if len(families) > 1:
        raise click.UsageError(
            f"{' and '.join(map(_flag, families))} are two promises: give one, or a contract file", ctx
        )
    from lrwatch.contract import from_document

    return from_document(_document(families[0], options, ctx), source=_SOURCE)


def _document(family: str, options: dict[str, Any], ctx: click.Context) -> dict[str, Any]:
    warmup, steps, low = options.get("warmup"), options.get("steps"), options.get("min_lr")
    needed = {"lr": options.get("lr")}
    if family in ("linear", "cosine"):
        needed["steps"] = steps
    elif low is not None:
        raise click.UsageError(f"{_flag(family)} has no end value: leave --min-lr out", ctx)
    if family == "inverse_sqrt":
        needed["warmup"] = warmup
    for name, value in needed.items():
        if value is None:
            raise click.UsageError(f"{_flag(family)} needs {_flag(name)}", ctx)
    parameters: dict[str, dict[str, Any]] = {
        "constant": {},
        "linear": {"to": low or 0.0, "until": "horizon"},
        "cosine": {"to": low or 0.0, "until": "horizon"},
        "inverse_sqrt": {"timescale": warmup},
    }
    schedule: list[dict[str, Any]] = [{family: parameters[family]}]
    if warmup:
        schedule.insert(0, {"linear": {"from": 0.0, "for": warmup}})
    return {
        "lrwatch": 1,
        "experiment": "",  # of any run
        "clock": {"horizon": steps} if steps is not None else {},
        "lr": {"base": options["lr"], "schedule": schedule},
    }


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
