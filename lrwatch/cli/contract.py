"""``lrwatch contract``: is a contract valid, what is its identity, what does it promise, who signed it."""

from __future__ import annotations

from pathlib import Path

import click

from lrwatch.cli import base
from lrwatch.cli._import import import_


@click.group(cls=base.Group, short_help="Import, check, identify, show, sign or verify a contract.")
def contract() -> None:
    """Import, check, identify, show, sign or verify a contract.

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


@contract.command()
@click.argument("file")
@click.option("--key", type=click.Path(path_type=Path), required=True, metavar="PEM",
              help="The private key, Ed25519 in PEM; LRWATCH_KEY_PASSWORD opens an encrypted one.")
@click.option("--output", metavar="FILE", help="Where the signature goes, - for standard output.  [FILE.sig]")
@click.option("--force", is_flag=True, help="Overwrite an older signature.")
def sign(file: str, key: Path, output: str | None, force: bool) -> None:
    """Sign what a contract says; the signature stands beside it, in FILE.sig.

    Signed is the identity that `contract hash` prints: comments may change under a signature, values and amendments may
    not. docs/signing.md says how to make the keys.

    \b
    Example:
      lrwatch contract sign contract.yaml --key release.pem
    """
    from lrwatch.contract import load, signature

    loaded = load(file)
    where = output or str(signature.beside(Path(file)))
    base.refuse_to_overwrite(where, force)
    base.write(signature.sign(loaded, key), where, force)
    if where != "-":
        click.echo(f"{where}: signs {loaded.experiment}, sha256 {loaded.sha256[:12]}", err=True)


@contract.command()
@click.argument("file")
@click.option("--key", type=click.Path(path_type=Path), required=True, metavar="PEM", envvar="LRWATCH_CONTRACT_KEY",
              show_envvar=True, help="The public keys that are trusted, one or more in PEM.")
@click.option("--signature", "signature_", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the signature is.  [FILE.sig]")
def verify(file: str, key: Path, signature_: Path | None) -> int:
    """Say whether a trusted key has signed what a contract says.

    Exit codes: 0 it has; 1 it has not (no signature, another key, changed since); 2 cannot be checked.

    \b
    Example:
      lrwatch contract verify contract.yaml --key release.pub
    """
    from lrwatch.contract import load, signature
    from lrwatch.errors import NotSigned

    loaded = load(file)
    try:
        who = signature.verify(loaded, key, signature_)
    except NotSigned as refusal:
        click.echo(str(refusal))
        return base.FINDINGS
    click.echo(f"{file}: signed with key {who}, experiment {loaded.experiment}, sha256 {loaded.sha256[:12]}")
    return base.OK


contract.add_command(import_)

COMMAND = contract
