"""Contracts from what people already have: a framework's configuration, a live scheduler, a function.

lrwatch contract import training_args.json -o contract.yaml

from lrwatch.importers.torch import contract_of
contract_of(optimizer, scheduler, stepped="update", total_steps=20_000).yaml()
"""

from __future__ import annotations

from pathlib import Path

from lrwatch.errors import ContractError, did_you_mean
from lrwatch.importers._document import Imported
from lrwatch.importers._frameworks import names
from lrwatch.importers.base import Importer, Options, Source, read
from lrwatch.plugins import load

_EXTENSIONS = ("json", "log", "py", "sh", "toml", "txt", "yaml", "yml")
SURE = 0.5
"""What an importer must at least be to have recognised a file."""


def importers() -> dict[str, Importer]:
    """Every importer by the name that ``--from`` uses."""
    return load("lrwatch.importers", "IMPORTER")


def import_contract(path: str | Path, framework: str | None = None, options: Options | None = None) -> Imported:
    """The contract of a framework's file.

    Args:
        path: the file. framework: whose it is; found out unless given. options: what the file does not say.

    Raises:
        ContractError: not readable, of no known framework, or something is missing: the flag that gives it is named.

    Example:
        >>> print(import_contract("training_args.json").yaml())       # doctest: +SKIP
    """
    known = importers()
    if framework is not None and framework not in known:
        raise ContractError(f"{framework!r} is not known{did_you_mean(framework, known)}", source="--from")
    source = _source(path, framework)
    try:
        return (known[framework] if framework else recognise(source)).convert(source, options or Options())
    except RecursionError:
        raise source.error("is nested more deeply than any configuration; give the right file") from None


def recognise(source: Source) -> Importer:
    """Whose file it is. Raises ContractError: nobody's, or that of several."""
    known = importers()
    certainty = {name: importer.detect(source) for name, importer in known.items()}
    best = max(certainty.values())
    found = [name for name, value in certainty.items() if value == best]
    if best < SURE:
        if source.path.suffix in (".json", ".yaml", ".yml"):  # cut short, nobody knows it: that is what to say
            source.yaml() if source.path.suffix != ".json" else source.json()
        what = "is the configuration of no framework that is known here"
        raise source.error(f"{what}; say which with --from, one of {', '.join(sorted(known))}")
    if len(found) > 1:
        raise source.error(f"could be of {' or '.join(found)}; say which with --from")
    return known[found[0]]


def _source(path: str | Path, framework: str | None) -> Source:
    """The file; a name that is none (``optax.linear_schedule``, ``train:get_lr``) is the whole source."""
    first, _, rest = str(path).partition(".")
    named = framework in ("callable", "schedule") or (first in names() and rest not in _EXTENSIONS)
    return Source(Path(path), "") if named and not Path(path).exists() else read(path)
