"""Every exception that lrwatch raises on purpose.

    LrwatchError                 anything a caller may want to catch at once; the command line exits 2
    ├── ContractError            a contract that cannot be used: where in which file, what, remedy
    │   └── NotSigned            a signature is asked for, and no trusted key signed what this contract says
    ├── TraceError               a trace that cannot be read: file, line, what, remedy
    ├── NotCheckable             a question that this evidence cannot answer; becomes ``not_checked``
    ├── OutputExists             would overwrite something; says which flag allows it
    └── MissingExtra             an optional dependency is needed; names the extra

A message is one sentence that says where, what and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LrwatchError(Exception):
    """Base of all errors that lrwatch raises on purpose."""


class ContractError(LrwatchError):
    """A contract cannot be used.

    ``str()`` reads ``contract.yaml: lr.schedule[1].cosine.until: must be > 0, got -5 (line 7)``.
    """

    def __init__(self, message: str, *, source: str = "contract", path: str = "", line: int | None = None):
        self.source, self.path, self.line, self.problem = source, path, line, message
        where = f"{source}: {path}: " if path else f"{source}: "
        super().__init__(where + message + (f" (line {line})" if line else ""))


class NotSigned(ContractError):
    """A contract that no trusted key has signed, where a signature is asked for."""


class TraceError(LrwatchError):
    """A trace cannot be read. ``str()`` reads ``run.csv:12: no learning-rate column; ...``."""

    def __init__(self, message: str, *, source: str, line: int | None = None):
        self.source, self.line, self.problem = source, line, message
        super().__init__(f"{source}:{line}: {message}" if line else f"{source}: {message}")


class NotCheckable(LrwatchError):
    """The evidence at hand cannot answer the question; the reason is the message."""


class OutputExists(LrwatchError):
    """Writing would overwrite an existing file."""

    def __init__(self, path: object, remedy: str = "pass --force to overwrite it"):
        super().__init__(f"{path}: already exists; {remedy}")


class MissingExtra(LrwatchError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs an optional dependency: pip install 'lrwatch[{extra}]'")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean 'cosine'?"`` or, with nothing near, the list of choices."""
    choices = list(choices)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; one of {', '.join(sorted(choices))}" if choices else ""
