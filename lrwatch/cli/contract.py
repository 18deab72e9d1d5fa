"""``lrwatch contract``: is a contract valid, what is its identity, what does it promise."""

from __future__ import annotations

import click

from lrwatch.cli import base
from lrwatch.cli._import import import_


@click.group(cls=base.Group, short_help="Import, check, identify or show a contract.")
def contract() -> None:
    """Import, check, identify or show a contract.

    `lrwatch explain contract` shows one to start from.
    """


@contract.command()
@click.argument("file")
def check(file: str) -> None:
    """Say whether a contract is valid; exit 2 if it is not.

    \b
    Example:
      lrwatch contract check contract.yaml
    """
    from lrwatch.contract import load
    from lrwatch.report import describe

    loaded = load(file)
    describe(loaded)  # draws every curve, which finds amendments that cannot be joined
    click.echo(f"{file}: valid, experiment {loaded.experiment}, sha256 {loaded.sha256[:12]}")


@contract.command(name="hash")
@click.argument("file")
def hash_(file: str) -> None:
    """Print the identity of a contract: SHA-256 of what it says.

    Comments, order of keys and ways to write a number do not change it. Every amendment adds a hash after
    a +; a contract whose hashes begin with another's is that one, amended.

    \b
    Example:
      lrwatch contract hash contract.yaml
    """
    from lrwatch.contract import load

    click.echo(str(load(file).identity))


@contract.command()
@click.argument("file")
def show(file: str) -> None:
    """Show what a contract promises, with the landmarks of its curves.

    \b
    Example:
      lrwatch contract show contract.yaml
    """
    from lrwatch.contract import load
    from lrwatch.report import describe

    click.echo(describe(load(file)), nl=False)


contract.add_command(import_)

COMMAND = contract
