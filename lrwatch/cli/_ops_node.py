"""``lrwatch ops node``: the workers of a machine on one port."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from pathlib import Path

import click

from lrwatch.cli import base


@click.command(short_help="Serve all workers of a machine on one port.")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9478, show_default=True,
              help="Port to listen on, 0 for any free one.")  # fmt: skip
def node(run_dir: Path, host: str, port: int) -> int:
    """Serve the metrics of all workers on this machine that train in RUN_DIR, on one port, until interrupted.

    The workers publish when LRWATCH_PUBLISH=1 is set in their environment (or with watch(publish=True)). May be
    started before them: a sidecar, or a child of the job. rank_up says of each whether its process is alive and its
    agent at work. Prometheus finds the port by RUN_DIR/targets.

    \b
    Example:
      LRWATCH_PUBLISH=1 torchrun --nproc-per-node 8 train.py &
      lrwatch ops node runs/gpt --host 0.0.0.0 --port 9478
    """
    from lrwatch.agent.node import Node, server, write_target

    with server(Node(run_dir), host, port) as serving:
        number = int(serving.server_address[1])
        name = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
        address = f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
        target: Path | None = None
        try:
            target = write_target(run_dir, address)
        except OSError as error:
            click.echo(f"lrwatch: {run_dir}: no discovery by file: {error.strerror}", err=True)
        click.echo(f"lrwatch: workers of {run_dir} at http://{address}/metrics", err=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(base.OK))  # how a sidecar is told to end
        try:
            serving.serve_forever()
        finally:
            if target is not None:
                with contextlib.suppress(OSError):
                    target.unlink(missing_ok=True)
    return base.OK
