"""``make grafana-conformance API=api-merged.json``: our schemas against Grafana's own description of its API."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.grafana.endpoints import ENDPOINTS

Api = dict[str, Any]


def problems(api: Api) -> Iterator[str]:
    """Where what we send or read is not what the description says."""
    for endpoint, ours in ENDPOINTS.items():
        method, path = endpoint.split(" ")
        theirs = api.get("paths", {}).get(path, {}).get(method.lower())
        if theirs is None:
            yield f"{endpoint}: not in the description"
            continue
        parameters = theirs.get("parameters", [])
        queries = {p["name"]: p for p in parameters if p["in"] == "query"}
        for name, schema in ours.get("query", {}).items():
            yield from _compared(f"{endpoint}: query {name}", api, schema, queries.get(name))
        if "body" in ours:
            body = next((p["schema"] for p in parameters if p["in"] == "body"), {})
            yield from _object(f"{endpoint}: body", api, ours["body"]["properties"], body)
            required = set(_resolved(api, body).get("required", ()))
            for name in sorted(required - set(ours["body"]["required"])):
                yield f"{endpoint}: body: {name} is required there and not here"
        if "answer" in ours:
            answer = _resolved(api, theirs["responses"]["200"])
            yield from _object(f"{endpoint}: answer", api, ours["answer"], answer.get("schema", answer))


def _object(where: str, api: Api, ours: dict[str, Any], theirs: Api) -> Iterator[str]:
    known = _resolved(api, theirs)
    if known.get("type") == "array":
        known = _resolved(api, known["items"])
    for name, schema in ours.items():
        yield from _compared(f"{where}.{name}", api, schema, known.get("properties", {}).get(name))


def _compared(where: str, api: Api, ours: Api, theirs: Api | None) -> Iterator[str]:
    if theirs is None:
        yield f"{where}: not in the description"
        return
    known = _resolved(api, theirs).get("type", "object")  # no type: anything, as of Json
    if known != ours["type"]:
        yield f"{where}: {known} there, {ours['type']} here"


def _resolved(api: Api, schema: Api) -> Api:
    while "$ref" in schema:
        found: Any = api
        for word in schema["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        schema = found
    return schema


def main(path: str) -> int:
    """Print what differs; 1 if anything does."""
    found = list(problems(json.loads(Path(path).read_text(encoding="utf-8"))))
    print("\n".join(found) or f"{path}: {len(ENDPOINTS)} endpoints as described")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("usage: make grafana-conformance API=path/to/api-merged.json (of grafana/grafana, in public/)")
    sys.exit(main(sys.argv[1]))
