"""The page docs/frameworks.md: which schedules of which framework, from the docstrings of what describes them."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping

from lrwatch.importers._frameworks import names, schedules
from lrwatch.importers.base import Importer

_PARTS = re.compile(r"(?P<value>.+?)\.? First value: (?P<first>.+?)\.(?: Past the end: (?P<past>.+?)\.)?$")
_ALWAYS = "every step of the real schedulers, past the end too, in every test run"
_INSTALLED = "every step of the real schedulers where they are installed; tables recorded from them in every test run"
_SOURCE = "tables recorded from the published source, in every test run"
COMPARED = dict.fromkeys(names(), _INSTALLED) | {"torch": _ALWAYS, "fairseq": _SOURCE, "nemo": _SOURCE}
_INTRODUCTION = """\
# Schedules exactly as the frameworks compute them

One set of [families](families/) describes them all; a framework's variant is data on top. `lrwatch contract import`
makes a contract from

| `--from` | what |
|---|---|
{importers}

A schedule by name needs no file: `lrwatch contract import fairseq.inverse_sqrt --lr 5e-4 --set warmup_updates=4000`.
In Python, `lrwatch.importers.torch.contract_of(optimizer, scheduler, stepped="update", total_steps=N)` reads a live
torch scheduler in any nesting and steps a copy of it beside the contract; what has no formula becomes a table.

Compared means: at 2,000 steps and more over a grid of parameters, within 1e-9 of each value (and a few float32
roundings where the framework computes in that, as `dtype: float32` allows). T is the last step of the decay, W or w the
length of the warm-up, t the position on the clock.
"""


def explained(function: Callable[..., object]) -> dict[str, str]:
    """``value``, ``first`` and ``past`` of a schedule, out of its docstring. Raises ValueError: they are not there."""
    # each has a docstring
    text = " ".join(inspect.getdoc(function).split("\n\n")[0].split())  # type: ignore[union-attr]
    found = _PARTS.match(text)
    if not found:
        raise ValueError(f"{function.__name__}: no 'First value: …. Past the end: ….' in {text!r}")
    return {key: value or "the same rule" for key, value in found.groupdict().items()}


def page(importers: Mapping[str, Importer]) -> str:
    """The whole page, Markdown; ``importers`` by name."""
    listed = "\n".join(f"| {name} | {importer.what} |" for name, importer in importers.items())
    return _INTRODUCTION.format(importers=listed) + "".join(_framework(name) for name in names())


def _framework(name: str) -> str:
    module = importlib.import_module(f"lrwatch.importers._frameworks.{name}")
    about = "\n".join(textwrap.wrap(" ".join((module.__doc__ or "").replace("``", "`").split()), 120))
    rows = "\n".join(_rows(name))
    head = "| schedule | value | first | past the end |\n|---|---|---|---|"
    return f"\n## {name}\n\n{about}\n\nCompared: {COMPARED[name]}.\n\n{head}\n{rows}\n"


def _rows(framework: str) -> Iterator[str]:
    for name, function in schedules(framework).items():
        said = {key: value.replace("|", "\\|").replace("``", "`") for key, value in explained(function).items()}
        yield f"| {name} | {said['value']} | {said['first']} | {said['past']} |"
