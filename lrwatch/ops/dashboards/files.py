"""Dashboards and Grafana's file provisioning as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from lrwatch.errors import LrwatchError
from lrwatch.ops.dashboards import shipped
from lrwatch.ops.render import dump
from lrwatch.ops.thresholds import resolve

FOLDER: Final = "lrwatch"
"""Title of the folder, name of the data source."""
MOUNTED: Final = "/etc/grafana/lrwatch/dashboards"
"""Where the dashboards' directory is expected in the place where Grafana runs."""


def boards(settings: Sequence[str] = (), runbooks: str | None = None, datasource: str | None = None) -> dict[str, str]:
    """File name → text of every dashboard: those that were shipped, or with other thresholds, built anew.

    Args:
        datasource: uid of the data source of ``provisioning``, to begin with.

    Raises:
        LrwatchError: thresholds that cannot be, or other thresholds without the SDK that builds dashboards.
    """
    documents = _built(settings, runbooks) if settings else shipped.load(runbooks=runbooks)
    if datasource is not None:
        for board in documents:
            shipped.choose(board, datasource, FOLDER)
    return {f"{board['uid']}.json": shipped.text(board) for board in documents}


def _built(settings: Sequence[str], runbooks: str | None) -> list[shipped.Document]:
    values = resolve(settings)
    try:
        from lrwatch.ops.dashboards import build
    except ModuleNotFoundError as error:
        raise LrwatchError(
            f"--set needs {error.name}, which builds dashboards: pip install 'grafana-foundation-sdk==0.0.21'; "
            "without --set the dashboards that came with lrwatch are written"
        ) from None
    from lrwatch.ops.dashboards import DASHBOARDS

    made = build.files(DASHBOARDS, values, *([runbooks] if runbooks is not None else []))
    return [json.loads(text) for text in made.values()]


def provisioning(uid: str, url: str, path: str | PurePosixPath = MOUNTED) -> dict[str, str]:
    """File name → text of the two files by which Grafana loads the data source and the dashboards at its start."""
    source = {"name": FOLDER, "uid": uid, "type": "prometheus", "access": "proxy", "url": url, "editable": False,
              "jsonData": {"httpMethod": "POST"}}  # fmt: skip
    provider = {
        "name": FOLDER, "folder": FOLDER, "folderUid": "lrwatch-folder", "type": "file", "disableDeletion": True,
        "allowUiUpdates": False, "options": {"path": str(path)},
    }  # fmt: skip
    return {
        "datasources/lrwatch.yaml": dump({"apiVersion": 1, "datasources": [source]}),
        "dashboards/lrwatch.yaml": dump({"apiVersion": 1, "providers": [provider]}),
    }
