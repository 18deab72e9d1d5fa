"""A run as a Prometheus-compatible server kept it: ``prometheus+http://host:9090/?run_id=r1`` (or ``+https``).

Prometheus, Thanos, Mimir and VictoriaMetrics answer the same queries. Of the address' query, ``run_id`` chooses the run
(or ``--run``), ``start`` and ``end`` (Unix seconds, or ``-2h``) bound the time, 30 days up to now without them;
whatever else is there selects series by their labels (``job=train``). Raw samples are read with range selectors, in
pieces of an hour or less, and those of one scrape, which share its time, make one row.

Two kinds of series are read. ``lrwatch_learning_rate`` and ``lrwatch_step`` are what an agent exported: **scrapes are
samples**, most updates are not among them, and the report says so. ``lrwatch_trace_learning_rate`` and
``lrwatch_trace_step`` are complete traces that ``lrwatch trace openmetrics`` or ``lrwatch ship`` put there; they are
preferred where both exist.
"""

from __future__ import annotations

import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lrwatch.errors import TraceError
from lrwatch.readers._records import Records, Row
from lrwatch.readers._scalars import one_run
from lrwatch.readers.base import Convention, Options, Reader, TraceSource
from lrwatch.trace.model import Item, TraceInfo

SCHEMES: Final = ("prometheus+http", "prometheus+https")
EXAMPLE: Final = "prometheus+http://localhost:9090/?run_id=RUN"
KINDS: Final = ("lrwatch_trace_", "lrwatch_")
COLUMNS: Final = {
    "learning_rate": "lr",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
    "step": "update",
    "loss": "loss",
    "grad_norm": "grad_norm",
}
"""Series, without what its name begins with → trace column; signals have a label ``group``."""

_PIECE: Final = 3600.0
_SHORTEST: Final = 60.0
_LONGEST: Final = 86_400.0
_AIM: Final = 50_000
"""Samples of a piece: below, the next piece is longer, above, it is shorter."""
_TIMEOUT: Final = 60.0
_LARGEST: Final = 1 << 28
_SPAN: Final = 30 * 86_400.0


class Server:
    """One run on one server."""

    rereadable = True
    rank: int | None = None

    def __init__(self, address: str, options: Options):
        self.name, self.options = _without_password(address), options
        parts = urllib.parse.urlsplit(address.removeprefix("prometheus+"))
        if not parts.hostname:
            raise TraceError(f"has no host; it looks like {EXAMPLE}", source=self.name)
        asked = dict(urllib.parse.parse_qsl(parts.query))
        host = parts.netloc.rpartition("@")[2]
        self.base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self.auth = _basic(parts)
        now = time.time()
        self.end = _moment(asked.pop("end", ""), now, now, self.name)
        self.start = _moment(asked.pop("start", ""), self.end - _SPAN, now, self.name)
        run = options.run or asked.pop("run_id", None)
        asked.pop("run_id", None)
        self.labels = {k: v for k, v in asked.items() if re.fullmatch(r"[A-Za-z_]\w*", k)}
        self.kind, self.run = self._which(run)
        samples = self.kind == "lrwatch_"
        self.convention = Convention(lr_read="used", merge=False, digits=17)
        known = [f"run {self.run} as {self.base} kept it, {_clock(self.start)} to {_clock(self.end)}"]
        if samples:
            known.append("scrapes are samples: updates between two of them were not seen")
        self.info = TraceInfo((self.name,), "prometheus", tuple(known), run=self.run)

    def _which(self, run: str | None) -> tuple[str, str]:
        """What its series begin with, and the run."""
        for kind in KINDS:
            query = {"match[]": self._selector(kind + "learning_rate", None)}
            found = self._get("/api/v1/series", {**query, "start": f"{self.start:.3f}", "end": f"{self.end:.3f}"})
            runs = {str(series.get("run_id")): None for series in found}
            if runs and (run is None or run in runs or kind == KINDS[-1]):
                return kind, one_run(runs, _with(self.options, run), self.name)
        raise TraceError(
            f"no series lrwatch_learning_rate from {_clock(self.start)} to {_clock(self.end)}; give start= and end=",
            source=self.name,
        )

    def _selector(self, metric: str, run: str | None) -> str:
        labels = {**self.labels, **({} if run is None else {"run_id": run})}
        return metric + "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}"

    def __iter__(self) -> Iterator[Item]:
        records = {}
        names = "|".join(COLUMNS)
        selector = self._selector("", self.run)[:-1] + f',__name__=~"{self.kind}({names})"}}'
        for series in self._pieces(selector):
            for rank, rows in sorted(_rows(series, self.kind).items()):
                if rank not in records:
                    records[rank] = Records(self.name, self.options, self.convention, rank)
                yield from records[rank].take(rows, [0] * len(rows))
        if not any(r.rated for r in records.values()):
            raise TraceError(f"run {self.run} has no learning rate with a step there", source=self.name)

    def _pieces(self, selector: str) -> Iterator[list[dict[str, Any]]]:
        """All samples of the series, piece by piece: those after its start up to its end."""
        at, size = self._first(selector) - 0.001, _PIECE
        while at < self.end:
            stop = min(at + size, self.end)
            # A range selector takes both of its ends; a sample at the earlier one came with the piece before.
            width = max(round((stop - at) * 1000), 1)
            query = {"query": f"{selector}[{width}ms]", "time": f"{stop:.3f}"}
            series = self._get("/api/v1/query", query).get("result", [])
            count = 0
            for one in series:
                one["values"] = [v for v in one.get("values", ()) if v[0] > at + 0.0005]
                count += len(one["values"])
            if count:
                yield series
            at = stop
            if count > 2 * _AIM:
                size = max(size / 2, _SHORTEST)
            elif count < _AIM // 2:
                size = min(size * 2, _LONGEST)

    def _first(self, selector: str) -> float:
        """Close before the first sample, so that an empty month is not walked through."""
        step = max((self.end - self.start) / 5000, 1.0)
        query = f"count(present_over_time({selector}[{math.ceil(step)}s]))"
        bounds = {"start": f"{self.start:.3f}", "end": f"{self.end:.3f}", "step": f"{step:.3f}"}
        try:
            found = self._get("/api/v1/query_range", {"query": query, **bounds}).get("result", [])
            return max(self.start, float(found[0]["values"][0][0]) - 2 * step) if found else self.start
        except TraceError:
            return self.start

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        data = urllib.parse.urlencode(query).encode()
        request = urllib.request.Request(self.base + path, data=data)
        if self.auth:
            request.add_header("Authorization", self.auth)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                answer = json.loads(response.read(_LARGEST))
        except urllib.error.HTTPError as e:
            raise TraceError(f"answers {e.code}: {_reason(e)}", source=self.name) from None
        except (OSError, ValueError) as e:
            why = getattr(e, "reason", None) or e
            raise TraceError(f"does not answer as Prometheus does: {why}", source=self.name) from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise TraceError("does not answer as Prometheus does", source=self.name)
        return answer["data"]


def _rows(series: list[dict[str, Any]], kind: str) -> dict[int, list[Row]]:
    """Rank → its rows: the samples of one moment, as far as they have a step."""
    moments: dict[tuple[int, float], dict[str, str]] = {}
    for one in series:
        labels = one["metric"]
        column = COLUMNS.get(str(labels.get("__name__", "")).removeprefix(kind))
        if column is None:
            continue
        if column in ("lr", "weight_decay", "momentum"):
            group = str(labels.get("group", "0"))
            if group == "_worst":
                continue
            column = f"{column}/{group}"
        rank = int(labels["rank"]) if str(labels.get("rank", "")).isdigit() else 0
        for ts, value in one["values"]:
            moments.setdefault((rank, float(ts)), {})[column] = str(value)
    result: dict[int, list[Row]] = {}
    for (rank, ts), row in sorted(moments.items()):
        if "update" in row and len(row) > 1:
            rows = result.setdefault(rank, [])
            row["ts"] = repr(ts)
            if rows and rows[-1]["update"] == row["update"] and kind == "lrwatch_":
                continue  # scraped again before the next update
            rows.append(row)
    return result


def _with(options: Options, run: str | None) -> Options:
    return Options(run=run) if run is not None else options


def _moment(text: str, default: float, now: float, name: str) -> float:
    """Unix seconds of ``1767225600`` or ``-2h``."""
    if not text:
        return default
    if found := re.fullmatch(r"-(\d+)([smhdw])", text):
        return now - int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[found[2]]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TraceError(f"start and end are Unix seconds or e.g. -2h, not {text!r}", source=name)
    return value


def _clock(ts: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts))


def _basic(parts: urllib.parse.SplitResult) -> str:
    if not parts.username:
        return ""
    import base64

    user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _without_password(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(1 << 16)).get("error"))[:200]
    except (OSError, ValueError, AttributeError):
        return str(error.reason)


def _open(path: object, options: Options) -> TraceSource:
    raise TraceError(f"is no address; it looks like {EXAMPLE}", source=str(path))


READER = Reader("prometheus", lambda path, head: 0.0, _open, url=Server, schemes=SCHEMES)
