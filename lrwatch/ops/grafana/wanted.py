"""What should be in a Grafana."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import LrwatchError
from lrwatch.ops.dashboards import shipped

FOLDER: Final = "lrwatch-folder"
SOURCE: Final = "lrwatch-prometheus"

Document = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Folder (uid and title), data source (None: none of ours), dashboards, and annotations by run.

    ``annotations``: run → what its trace says, each as Grafana's API takes it.
    """

    folder: str
    source: Document | None
    boards: tuple[Document, ...]
    annotations: tuple[tuple[str, tuple[Document, ...]], ...] = ()


def wanted(
    *,
    folder: str = "lrwatch",
    prometheus: str | None = None,
    datasource: str | None = None,
    runbooks: str | None = None,
    boards: Path | None = None,
    runs: Sequence[Path] = (),
) -> Wanted:
    """What these options ask for.

    Args:
        prometheus: address of Prometheus as Grafana reaches it: a data source of ours for it. datasource: uid of one
            that exists and is not ours. Either is chosen in the dashboards at first.
        boards: a folder of rendered dashboards; those that came with lrwatch without it.

    Raises:
        LrwatchError: both data sources, dashboards or a trace that cannot be read.
    """
    if prometheus is not None and datasource is not None:
        raise LrwatchError("--prometheus and --datasource: give one of them")
    if prometheus is not None and not prometheus.startswith(("http://", "https://")):
        raise LrwatchError(f"--prometheus {prometheus}: not an address, as in http://prometheus:9090")
    source = None if prometheus is None else {
        "uid": SOURCE, "name": "lrwatch", "type": "prometheus", "access": "proxy", "url": prometheus,
        "isDefault": False, "jsonData": {"httpMethod": "POST"},
    }  # fmt: skip
    chosen = SOURCE if prometheus is not None else datasource
    documents = shipped.load(boards, runbooks)
    if chosen is not None:
        for board in documents:
            shipped.choose(board, chosen, "lrwatch" if source else chosen)
    from lrwatch.ops.grafana.annotations import of_run

    return Wanted(folder, source, tuple(documents), tuple(of_run(run) for run in runs))
