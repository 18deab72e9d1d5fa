"""How trainers and loggers name their columns, and what lrwatch calls the same things.

``resolve`` turns the header of a table into columns of the trace model. Names are compared without case, outer
blanks and a leading ``train/``. Where several names of a header mean the same column, the first in the lists
below is taken and the others are reported, never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "update": ("update", "trainer/global_step", "global_step", "step", "iteration", "iter", "_step", "steps"),
    "attempt": ("attempt",),
    "micro": ("micro", "micro_step"),
    "sched": ("sched", "sched/last_epoch", "last_epoch"),
    "epoch": ("epoch",),
    "samples": ("samples", "consumed_samples", "samples_seen", "num_samples"),
    "tokens": ("tokens", "consumed_tokens", "tokens_seen", "num_tokens"),
    "round": ("round",),
    "skipped": ("skipped",),
    "loss": ("loss", "train_loss", "training_loss", "loss/train"),
    "grad_norm": ("grad_norm", "grad-norm", "gradnorm", "gnorm", "gradient_norm", "grad_2.0_norm_total"),
    "ts": ("ts", "timestamp", "_timestamp", "wall_time"),
    "rank": ("rank", "global_rank", "process_index"),
    "world": ("world", "world_size"),
}
"""Column → the names it goes by, the most telling first."""

SIGNALS: Final[Mapping[str, tuple[str, ...]]] = {
    "lr": ("lr", "learning_rate", "learningrate", "learning-rate"),
    "weight_decay": ("weight_decay", "weight-decay"),
    "momentum": ("momentum",),
}
"""Signal → the names of its column, alone or before ``/<group>``."""

_MONITOR = re.compile(r"lr-(?P<optimizer>[^/]+?)(?:/(?P<group>[^/]+?))?(?:-(?P<signal>momentum|weight_decay))?", re.I)
"""Lightning's LearningRateMonitor: ``lr-AdamW``, ``lr-AdamW/pg1``, ``lr-AdamW-1/head-momentum``."""
_INDEXED = re.compile(r"pg(\d+)")


@dataclass(frozen=True)
class Layout:
    """Which column of a table is what.

    Attributes:
        columns: trace column (``update``, ``lr/0``, ``loss``, also ``rank`` and ``world``) → index in the header.
        unused: names that mean the same as another one that was taken.
    """

    columns: Mapping[str, int]
    unused: tuple[str, ...] = ()

    def signals(self, signal: str) -> list[str]:
        """The trace columns of one signal, e.g. ``["lr/0"]``."""
        return [c for c in self.columns if c.startswith(signal + "/")]


def canonical(column: str) -> str:
    """The trace column that a user means: ``step`` is ``update``, ``lr`` is ``lr/0``."""
    column = {"step": "update"}.get(column, column)
    return f"{column}/0" if column in SIGNALS else column


def known(column: str) -> bool:
    """Whether the trace model has this column (in its canonical form)."""
    return column in ALIASES or column.partition("/")[0] in SIGNALS


def resolve(header: Sequence[str], mapping: Mapping[str, int] | None = None) -> Layout:
    """Recognise the columns of ``header``; ``mapping`` (canonical column → index) comes first.

    A mapped signal switches off the recognition of that signal's other columns.

    >>> resolve(["Step", "train/loss", "lr-AdamW/pg1", "lr-AdamW/pg2"]).columns
    {'update': 0, 'loss': 1, 'lr/0': 2, 'lr/1': 3}
    """
    columns = dict(mapping or {})
    unused: list[str] = []
    names = [name.strip().lower().removeprefix("train/") for name in header]
    told = set(columns.values())
    for column, aliases in ALIASES.items():
        found = [i for alias in aliases if alias in names and (i := names.index(alias)) not in told]
        if column not in columns and found:
            columns[column] = found[0]
            unused += [header[i] for i in found[1:]]
    taken = set(columns.values())
    mapped = {column.partition("/")[0] for column in mapping or {}}
    for index, column in _signals(header, names):
        if index in taken or column.partition("/")[0] in mapped:
            continue
        if column in columns:
            unused.append(header[index])
        else:
            columns[column] = index
    return Layout(columns, tuple(unused))


def _signals(header: Sequence[str], names: Sequence[str]) -> list[tuple[int, str]]:
    """(index, column) of everything that looks like a signal, in the order of the header."""
    monitored = [_MONITOR.fullmatch(name.strip()) for name in header]
    several = len({m["optimizer"] for m in monitored if m}) > 1
    plain = any(name in SIGNALS["lr"] for name in names)
    result: list[tuple[int, str]] = []
    for index, (name, match) in enumerate(zip(names, monitored, strict=True)):
        if match and name not in SIGNALS["lr"]:
            group = match["group"] or "0"
            if numbered := _INDEXED.fullmatch(group):
                group = str(int(numbered[1]) - 1)
            optimizer = f"{match['optimizer']}/" if several else ""
            result.append((index, f"{match['signal'] or 'lr'}/{optimizer}{group}"))
            continue
        for signal, aliases in SIGNALS.items():
            word = next((a for a in aliases if name == a or name.startswith(a + "/")), None)
            if word is not None:
                if group := _tail(header[index], len(name) - len(word) - 1) if name != word else "0":
                    result.append((index, f"{signal}/{group}"))
                break
        else:  # lr_head names a group only where no plain lr stands beside it (then it may be lr_scale, lr_expected)
            if name.startswith("lr_") and not plain and len(name) > 3:
                result.append((index, "lr/" + _tail(header[index], len(name) - 3)))
    return result


def _tail(name: str, length: int) -> str:
    """The last characters of a name as it was written: groups keep their case."""
    name = name.strip()
    return name[len(name) - length :]
