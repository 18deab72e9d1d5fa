"""The few questions that are asked of a running Prometheus and Alertmanager."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from lrwatch.errors import LrwatchError


def get(url: str, **params: str) -> Any:
    """The JSON at an address. Raises ``LrwatchError`` with what the server says."""
    return _ask(url + ("?" + urllib.parse.urlencode(params) if params else ""))


def post(url: str, document: Any) -> Any:
    """Send JSON, get JSON. Raises ``LrwatchError`` with what the server says."""
    return _ask(url, json.dumps(document).encode())


def _ask(url: str, body: bytes | None = None) -> Any:
    if not url.startswith(("http://", "https://")):
        raise LrwatchError(f"{url}: an address begins with http:// or https://")
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body else {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())
        raise LrwatchError(f"{url}: {error.code} {said}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise LrwatchError(f"{url}: {getattr(error, 'reason', error)}") from None


def query(prometheus: str, expr: str) -> list[dict[str, Any]]:
    """The result of an instant query: ``metric`` and ``value`` of each series."""
    result = get(f"{prometheus}/api/v1/query", query=expr)["data"]
    return [{"metric": {}, "value": result["result"]}] if result["resultType"] == "scalar" else list(result["result"])


def targets(prometheus: str) -> list[dict[str, Any]]:
    """What Prometheus scrapes: ``health``, ``labels``, ``lastError`` of each target."""
    return list(get(f"{prometheus}/api/v1/targets", state="active")["data"]["activeTargets"])


def alerts(alertmanager: str) -> list[dict[str, Any]]:
    """Alerts that Alertmanager has, silenced and inhibited ones as well."""
    return list(get(f"{alertmanager}/api/v2/alerts"))
