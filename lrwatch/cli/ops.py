"""``lrwatch ops``: alert rules, the workers of a machine, the local stack, silences."""

from __future__ import annotations

import click

from lrwatch.cli import base
from lrwatch.cli._ops_dashboards import dashboards
from lrwatch.cli._ops_gameday import gameday
from lrwatch.cli._ops_grafana import grafana
from lrwatch.cli._ops_kubernetes import kubernetes
from lrwatch.cli._ops_node import node
from lrwatch.cli._ops_rules import rules
from lrwatch.cli._ops_silence import silence
from lrwatch.cli._ops_stack import stack


@click.group(cls=base.Group, short_help="Alert rules, a local monitoring stack, silences.")
def ops() -> None:
    """Alert rules, a local monitoring stack, silences."""


ops.add_command(rules)
ops.add_command(dashboards)
ops.add_command(grafana)
ops.add_command(stack)
ops.add_command(silence)
ops.add_command(gameday)
ops.add_command(node)
ops.add_command(kubernetes)

COMMAND = ops
