"""``lrwatch train``: the reference trainer, watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrwatch.trainer.faults import FAULTS
from lrwatch.trainer.settings import SIZES, Settings

_FAULT_LIST = "\n".join(
    f"  {name}{':' if f.required or f.optional else ''}"
    + ",".join([*(f"{k}=…" for k in f.required), *(f"[{k}=…]" for k in f.optional)])
    + f"\n      {f.doc}"
    for name, f in FAULTS.items()
)


@click.command(
    short_help="Train a small GPT under a contract, watched.",
    epilog=f"\b\nFaults for --inject NAME[:key=value,...]:\n{_FAULT_LIST}",
)
@click.option("--contract", type=click.Path(path_type=Path), required=True, help="Schedule, batch, horizon and goal.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where trace and checkpoints go.  [runs/RUN_ID]")
@click.option("--run-id", help="Name of the run.  [that of the run directory, else experiment and time]")
@click.option("--workers", type=int, help="Processes to start on this machine (not under torchrun).  [1]")
@click.option("--steps", type=int, help="Stop after so many updates; the schedule stays.  [the horizon]")
@click.option("--model", type=click.Choice(list(SIZES)), default="tiny", show_default=True, help="Size of the GPT.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, data order and dropout.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; auto takes CUDA where there is any.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of the forward and backward pass; fp16 scales the loss.",
)
@click.option("--resume", is_flag=True, help="Continue from the run directory's newest checkpoint, if it has one.")
@click.option(
    "--checkpoint-every",
    type=int,
    default=100,
    show_default=True,
    metavar="UPDATES",
    help="Updates from one checkpoint to the next.",
)
@click.option(
    "--validate-every",
    type=int,
    default=50,
    show_default=True,
    metavar="UPDATES",
    help="Updates from one validation to the next.",
)
@click.option("--inject", multiple=True, metavar="FAULT", help="Do something wrong, see below; repeatable.")
@click.option("--port", type=int, help="Serve metrics from this port on, one per worker.  [any free ones]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve metrics at.")
@click.option("--contract-key", type=click.Path(path_type=Path), metavar="PEM", envvar="LRWATCH_CONTRACT_KEY",
              show_envvar=True, help="Train only if one of these public keys has signed the contract.")
@click.option("--stop-after-micro", type=int, metavar="N", help="As if SIGTERM arrived during micro-batch N.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def train(**options: Any) -> int:
    """Train a small GPT on the source code of Python's standard library, as the contract says, and record it.

    Runs on CPU or CUDA, alone, with --workers, or under torchrun. SIGTERM and Ctrl-C end the micro-batch at
    hand, write a checkpoint and exit with 143 or 130; --resume then continues bit for bit (on CPU), also with
    the same command after every restart. Exit codes besides: 0 finished or goal reached, 1 training broke,
    2 bad input.

    \b
    Examples:
      lrwatch train --contract examples/contract.yaml --workers 4
      lrwatch train --contract examples/contract.yaml --workers 4 --inject step_per_worker
      torchrun --nproc-per-node 4 -m lrwatch train --contract contract.yaml --run-dir runs/a --resume
    """
    from lrwatch.trainer.launch import launch

    return launch(Settings(**options))


COMMAND = train
