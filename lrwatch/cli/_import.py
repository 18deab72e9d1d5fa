"""``lrwatch contract import``: a contract from what people already have."""

from __future__ import annotations

from typing import Any

import click

from lrwatch.cli import base

_FLAGS: tuple[tuple[str, type, str, str], ...] = (
    ("--experiment", str, "NAME", "Name of the contract; traces of another experiment are refused."),
    ("--lr", float, "LR", "Learning rate of the optimizer."),
    ("--scheduler", str, "NAME", "Schedule, as the framework calls it."),
    ("--warmup", float, "N", "Updates of the warm-up."),
    ("--steps", int, "N", "Updates of the whole run."),
    ("--steps-per-epoch", int, "N", "Updates of an epoch."),
    ("--dataset-size", int, "N", "Training samples."),
    ("--world-size", int, "N", "Processes."),
    ("--accumulate", int, "N", "Micro-batches per update."),
    ("--batch-size", int, "N", "Samples per update, over all processes."),
)


def _said(command: Any) -> Any:
    for name, kind, metavar, text in reversed(_FLAGS):
        command = click.option(name, type=kind, metavar=metavar, help=text)(command)
    return command


@click.command("import", short_help="Make a contract from a framework's configuration.")
@click.argument("source")
@click.option(
    "--from",
    "framework",
    type=base.Words("lrwatch.importers", "FRAMEWORK"),
    metavar="FRAMEWORK",
    help="Whose it is; found out unless given.",
)
@_said
@click.option(
    "--stepped",
    type=click.Choice(["update", "attempt", "epoch"]),
    help="Who steps the scheduler: once per applied update, per update skipped or not, per epoch.",
)
@click.option(
    "--set", "values", multiple=True, metavar="KEY=VALUE", help="Read KEY of the source as VALUE; repeatable."
)
@click.option("-o", "--output", metavar="FILE", help="Write the contract to FILE instead of standard output.")
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
def import_(
    source: str, framework: str | None, output: str | None, force: bool, values: tuple[str, ...], **said: Any
) -> None:
    """Make a contract from SOURCE: a framework's configuration file.

    What changes the schedule but is not in it is asked for by one of the flags below, never assumed. Nothing is
    unpickled, and nothing executed but a function under --from callable.

    \b
    Sources (--from):
      callable     MODULE:FUNCTION of the step, sampled; runs it
      composer     Composer's or LLM Foundry's YAML
      deepspeed    ds_config.json
      huggingface  TrainingArguments as JSON or YAML, trainer_state.json
      keras        get_config() of a schedule or an optimizer, as JSON
      lightning    LightningCLI's config.yaml
      megatron     Megatron-LM's arguments: a script, a list, the head of a log
      nanogpt      a Python file of assignments, as nanoGPT's config/*.py
      schedule     FRAMEWORK.NAME and its parameters by --set
      timm         args.yaml of timm's train.py
      torch        a live scheduler: lrwatch.importers.torch.contract_of
      torchtitan   its TOML configuration, 0.2 and later

    \b
    Examples:
      lrwatch contract import training_args.json -o contract.yaml
      lrwatch contract import ds_config.json --lr 3e-4 --warmup 200 --steps 20000
      lrwatch contract import transformers.cosine --steps 2000 --set lr=3e-4 \\
        --set num_warmup_steps=100 --set num_training_steps=2000
    """
    from lrwatch.importers import import_contract
    from lrwatch.importers.base import Options

    base.refuse_to_overwrite(output, force)
    imported = import_contract(source, framework, Options(values=_pairs(values), **said))
    imported.contract()  # what cannot be loaded again is not written
    base.write(imported.yaml(), output, force)


def _pairs(values: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` as YAML reads VALUE; 3e-4 is a number."""
    import yaml

    from lrwatch.importers.base import plain_numbers

    found = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--set {text!r} must be KEY=VALUE")
        try:
            found[key] = plain_numbers(yaml.safe_load(value))
        except yaml.YAMLError:
            found[key] = value
    return found
