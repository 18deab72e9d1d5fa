"""Grafana dashboards: ``base`` the words, one module per dashboard, ``build`` makes JSON, ``shipped`` reads it."""

from __future__ import annotations

from lrwatch.ops.dashboards.base import Dashboard
from lrwatch.ops.dashboards.debug import DASHBOARD as DEBUG
from lrwatch.ops.dashboards.executive import DASHBOARD as EXECUTIVE
from lrwatch.ops.dashboards.on_call import DASHBOARD as ON_CALL

__all__ = ["DASHBOARDS"]

DASHBOARDS: tuple[Dashboard, ...] = (EXECUTIVE, ON_CALL, DEBUG)
