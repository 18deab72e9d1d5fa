"""Random contract documents, and random ways to write one down."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

WORDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8).map(lambda word: f"x{word}")
SIZES = st.one_of(st.integers(1, 10**6), st.floats(1e-8, 1e6))
LEVELS = st.one_of(SIZES, st.integers(0, 100).map("{}%".format))


def _phase(last: bool) -> st.SearchStrategy[dict[str, Any]]:
    ends = st.fixed_dictionaries({"for": st.integers(1, 1000)})
    return st.one_of(
        st.builds(
            lambda p, e: {"linear": {**p, **e}},
            st.fixed_dictionaries({}, optional={"from": LEVELS, "to": LEVELS}),
            ends,
        ),
        st.builds(
            lambda p, e: {"cosine": {**p, **e}}, st.fixed_dictionaries({}, optional={"to": LEVELS, "over": SIZES}), ends
        ),
        st.builds(
            lambda p, e: {"constant": {**p, **({} if last else e)}},
            st.fixed_dictionaries({}, optional={"at": LEVELS}),
            ends,
        ),
    )


SCHEDULES = st.builds(lambda some, last: [*some, last], st.lists(_phase(False), max_size=3), _phase(True))
GROUPS = st.dictionaries(
    WORDS, st.one_of(st.fixed_dictionaries({"scale": SIZES}), st.fixed_dictionaries({"base": SIZES})), max_size=3
)
SIGNALS = st.fixed_dictionaries(
    {"base": SIZES, "schedule": SCHEDULES},
    optional={"groups": GROUPS, "dtype": st.sampled_from(["float64", "float32"]), "recursive": st.booleans()},
)
FACTORS = st.fixed_dictionaries({"lr": SIZES})
DOCUMENTS = st.fixed_dictionaries(
    {"lrwatch": st.just(1), "experiment": WORDS, "lr": SIGNALS},
    optional={
        "clock": st.fixed_dictionaries({"horizon": SIZES}),
        "batch": st.fixed_dictionaries({"global": st.integers(1, 4096), "accumulate": st.integers(1, 64)}),
        "momentum": SIGNALS,
        "goal": st.fixed_dictionaries({"metric": WORDS, "target": SIZES}),
        "amendments": st.lists(st.fixed_dictionaries({"at": SIZES, "multiply": FACTORS}), max_size=3),
    },
)  # fmt: skip


def _spellings(value: Any) -> list[str]:
    """YAML texts of a scalar that mean the same."""
    if isinstance(value, (bool, str)):
        return [json.dumps(value), str(value).lower() if isinstance(value, bool) else value]
    number = float(value)
    ways = [repr(value), f"{number:.17g}", f"{number:.16e}", f"{number:.16E}", f"+{number!r}"]
    if number.is_integer() and number < 2**53:
        ways += [str(int(number)), f"{int(number)}.0", f"{int(number):_}", f"{int(number)}e0"]
    return ways


def written(value: Any, choose: Callable[[int], int], indent: int = 0) -> str:
    """A YAML text of a document; ``choose(n)``, one of 0 … n-1, decides everything that does not matter."""
    pad, comment = "  " * indent, ["", "", " # why", "\n\n" + "  " * indent + "# said at length"]
    if isinstance(value, dict) and value:
        keys = sorted(value)
        order = [keys.pop(choose(len(keys))) for _ in range(len(keys))]
        if choose(3) == 0:
            return "{" + ", ".join(f"{k}: {_flow(value[k], choose)}" for k in order) + "}"
        return "".join(f"\n{pad}{k}: {written(value[k], choose, indent + 1)}{comment[choose(4)]}" for k in order)
    if isinstance(value, list) and value:
        if choose(3) == 0:
            return _flow(value, choose)
        return "".join(f"\n{pad}- {_flow(v, choose)}{comment[choose(4)]}" for v in value)
    return _flow(value, choose)


def _flow(value: Any, choose: Callable[[int], int]) -> str:
    if isinstance(value, dict):
        keys = sorted(value, reverse=choose(2) == 0)
        return "{" + ", ".join(f"{k}: {_flow(value[k], choose)}" for k in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v, choose) for v in value) + "]"
    ways = _spellings(value)
    return ways[choose(len(ways))]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all scalars."""
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in leaves(v, (*path, k))]
    if isinstance(value, list):
        return [leaf for i, v in enumerate(value) for leaf in leaves(v, (*path, i))]
    return [path]
