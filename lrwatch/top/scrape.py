"""What an endpoint of the agent shows, by worker."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from lrwatch.errors import LrwatchError
from lrwatch.metrics import PREFIX

LARGEST: Final = 64 << 20
"""Bytes of an answer; a node with 64 workers has less than one million."""

Labels = Mapping[str, str]


@dataclass
class Worker:
    """The samples of one worker by metric, without the prefix."""

    run: str
    rank: int
    samples: dict[str, list[tuple[Labels, float]]] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float | None:
        """The first sample with these labels."""
        for found, value in self.samples.get(name, ()):
            if all(found.get(k) == v for k, v in labels.items()):
                return value
        return None

    def by(self, name: str, label: str) -> dict[str, float]:
        """Label value → value."""
        return {labels[label]: value for labels, value in self.samples.get(name, ()) if label in labels}

    def word(self, name: str, label: str) -> str | None:
        """A label of an info metric, or of the state that is 1."""
        return next((labels.get(label) for labels, value in self.samples.get(name, ()) if value == 1), None)


def read(text: str) -> list[Worker]:
    """The workers in an exposition. Raises ``ValueError`` on text that is none."""
    workers: dict[tuple[str, int], Worker] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name.startswith(PREFIX) and "run_id" in labels and labels.get("rank", "").isdigit():
                key = labels["run_id"], int(labels["rank"])
                worker = workers.setdefault(key, Worker(*key))
                worker.samples.setdefault(sample.name.removeprefix(PREFIX), []).append((labels, sample.value))
    return list(workers.values())


def ask(url: str, timeout: float) -> list[Worker]:
    """The workers that an address shows. Raises ``LrwatchError``: where, what, remedy."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            text = answer.read(LARGEST).decode("utf-8", errors="replace")
    except urllib.error.HTTPError as error:
        raise LrwatchError(f"{url}: answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise LrwatchError(f"{url}: does not answer ({getattr(error, 'reason', None) or error})") from None
    try:
        return read(text)
    except ValueError:
        raise LrwatchError(f"{url}: shows no metrics; give the address of a worker, or a run directory") from None
