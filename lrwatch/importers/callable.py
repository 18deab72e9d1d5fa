"""A function of the step, sampled → a contract with a table.

    from lrwatch.importers.callable import contract_of
    contract_of(get_lr, steps=5_000).yaml()

On the command line, ``lrwatch contract import train:get_lr --from callable --steps 5000``: the only importer that runs
what it is given, which is why it never recognises a source by itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrwatch.errors import ContractError
from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._parts import Schedule, positive
from lrwatch.importers._table import tabled
from lrwatch.importers.base import Importer, Options, Source, Stepped, experiment


def contract_of(
    function: Callable[[int], Any],
    *,
    steps: int,
    lr: float = 1.0,
    stepped: Stepped = "update",
    experiment: str | None = None,
) -> Imported:
    """The contract of lr·function(t), t = 0 … steps - 1: every value, or the lines that connect them exactly.

    Args:
        function: step → learning rate, or → multiplier of ``lr`` as torch's LambdaLR takes it.
        steps: how many are sampled; the last value is promised for ever. lr: what a multiplier multiplies.
        stepped: what t counts: applied updates, attempts or epochs. experiment: the contract's name.

    Raises:
        ContractError: the function fails, gives no learning rate, or more values than a contract holds.

    Example:
        >>> contract_of(lambda t: 0.5 ** (t // 10), steps=30, lr=0.1).plain()["lr"]["schedule"]
        [{'table': {'values': [0.1, 0.05, 0.025], 'at': [0, 10, 20]}}]
    """
    source = getattr(function, "__qualname__", type(function).__name__)
    values = []
    for t in range(steps):
        try:
            values.append(lr * float(function(t)))
        except Exception as e:  # somebody else's code
            raise ContractError(f"fails at step {t}: {type(e).__name__}: {e}", source=source) from None
    made = Schedule(
        positive(max(values, default=0.0), source, "its largest value"),
        (tabled(values, f"{steps} samples of {source}", source),),
        "the largest value",
    )
    clock = Clock(
        axis=Noted("epoch" if stepped == "epoch" else "update", f"t of {source}"),
        counts=Noted("attempted") if stepped == "attempt" else None,
        horizon=Noted(steps, "the steps that were sampled"),
    )
    named = Noted(experiment) if experiment is not None else None
    return document(f"{source}, sampled", clock, {"lr": made}, experiment=named)


def _convert(source: Source, options: Options) -> Imported:
    module, _, name = source.name.partition(":")
    module = module.removesuffix(".py").replace("/", ".")
    if not name:
        raise source.error("must be MODULE:FUNCTION, e.g. train:get_lr")
    steps = source.need(options.steps, "--steps N", "a function has no end")
    stepped = options.stepped or "update"
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except Exception as e:  # importing runs the module
        raise source.error(f"cannot be imported: {type(e).__name__}: {e}") from None
    finally:
        sys.path.pop(0)
    named = experiment(options, None, "")
    title = None if named is None else str(named.value)
    return contract_of(function, steps=steps, lr=options.lr or 1.0, stepped=stepped, experiment=title)


IMPORTER = Importer("callable", "MODULE:FUNCTION of the step, sampled; runs it", lambda source: 0.0, _convert)
