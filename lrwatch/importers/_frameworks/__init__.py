"""What each framework's schedules compute, as data on top of the families.

Each module has ``SCHEDULES``: the framework's own name of a schedule → a function of the framework's own parameters
that returns a ``Schedule``. ``lr`` is the optimizer's learning rate where the framework takes it from there; times are
in the units that the framework's scheduler counts (its steps, unless the docstring says otherwise). A docstring says
the value, the first one and what comes past the end; docs/frameworks.md is made of them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from lrwatch.errors import ContractError, did_you_mean
from lrwatch.importers._parts import Schedule

Maker = Callable[..., Schedule]


@cache
def names() -> tuple[str, ...]:
    """The frameworks, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def schedules(framework: str) -> Mapping[str, Maker]:
    """The schedules of a framework by its own names. Raises ContractError for a framework that is not known."""
    if framework not in names():
        raise ContractError(f"is not a known framework{did_you_mean(framework, names())}", source=framework)
    found: Mapping[str, Maker] = importlib.import_module(f"{__name__}.{framework}").SCHEDULES
    return found


def schedule(framework: str, name: str, **params: Any) -> Schedule:
    """A framework's schedule with its own parameters.

    Raises:
        ContractError: no such framework, schedule or parameter, or one is missing or impossible.

    Example:
        >>> made = schedule("transformers", "linear", lr=1.0, num_warmup_steps=2, num_training_steps=10)
        >>> [made.value(t) for t in (0, 1, 2, 6, 10, 11)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """
    known, here = schedules(framework), f"{framework}.{name}"
    if name not in known:
        raise ContractError(f"is not a schedule of {framework}{did_you_mean(name, known)}", source=here)
    wanted = inspect.signature(known[name]).parameters
    for key in params:
        if key not in wanted:
            raise ContractError(f"is not a parameter{did_you_mean(key, wanted)}", source=here, path=key)
    missing = [key for key, p in wanted.items() if p.default is p.empty and key not in params]
    if missing:
        raise ContractError(f"needs {' and '.join(missing)}", source=here)
    try:
        return known[name](**params)
    except (TypeError, ZeroDivisionError, OverflowError) as e:
        raise ContractError(f"cannot be computed with {_shown(params)}: {e}", source=here) from None
    except ValueError as e:
        raise ContractError(f"{e}", source=here) from None


def _shown(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in params.items())
