"""One reader under atheris (libFuzzer): any bytes give items or an LrwatchError, in bounded time and memory.

    python -m tests.readers.fuzz READER CORPUS [libFuzzer's options: -max_total_time=60 …]

CORPUS is a directory of inputs that is begun with the fixtures which the reader reads, and grows. With polars there,
each input is read with it and without it, and must give the same. ``test_fuzz`` runs this for every reader.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["lrwatch"]):
    from lrwatch.errors import LrwatchError
    from lrwatch.readers import _fast, lrwatch, open_trace, readers
    from lrwatch.readers.base import Options
    from lrwatch.trace.model import Chunk

    readers()

FIXTURES = Path(__file__).parent / "fixtures"
POLARS = _fast.USED
EXTRA = {
    "csv": [b"step,lr,loss\n0,0.5,1\n1,0.25,nan\n2,,2\n", b"#step;lr;rank\r\n0;5e-1;0\r\n0;.5;1\r\n"],
    "jsonl": [b'{"step": 0, "lr": 0.5}\n{"step": 1, "lr": NaN, "eval_loss": 2}\n{"a": {"lr": null}, "step": 3}\n'],
    "lrwatch": [
        b'{"event":"start","lrwatch_trace":1,"rank":0,"world":1,"groups":["a"],"update":0}\n'
        b'{"update":0,"lr/a":0.5,"loss":"nan"}\n{"update":1,"lr/a":0.25,"skipped":1}\n'
        b'{"event":"validation","update":2,"metrics":{"val_loss":1.5}}\n'
        b'{"event":"precision","digits":{"lr/a":6},"quantum":{"lr/a":1e-8}}\n{"event":"end","outcome":"completed"}\n'
    ],
    "wandb_csv": [b'"Step","a - lr","a - lr__MIN","a - lr__MAX"\n"0","0.5","0.5","0.5"\n"1","0.25","0.25","0.25"\n'],
    "nanogpt": [b"step 0: train loss 2.5, val loss 2.6\niter 0: loss 2.5, time 3.0ms, mfu 1%, lr 3.0e-4\n"],
    "key_value": [b"INFO step=10 lr=1e-4 loss=2\nstep: 11 | lr: 1e-4 | loss: nan\n"],
    "trace_csv": [b"rank,segment,update,lr/0\n0,0,0,0.5\n0,0,1,0.25\n"],
}
"""Inputs for readers that have no fixture, or that show more of the format."""


def items(path: Path, name: str | None, rows: int) -> list[str]:
    """Everything that is read from a file, as text; or what is wrong with it."""
    result = []
    try:
        for item in open_trace([path], name, Options(steps_per_epoch=3, chunk_rows=rows)):
            if isinstance(item, Chunk):
                assert len(item) and all(len(c) == len(item) for c in item.columns.values())
                assert all(c in item.columns and m.any() for c, m in item.missing.items())
            result.append(_told(item))
    except LrwatchError as e:
        assert str(e).strip() and len(str(e)) < 2000, f"no message for a person: {str(e)[:200]!r}"
        result.append(str(e))
    return result


def _told(item: Any) -> str:
    if not isinstance(item, Chunk):
        return repr(item)
    columns = {
        name: [repr(v) if there else None for v, there in zip(c.tolist(), item.present(name), strict=True)]
        for name, c in sorted(item.columns.items())
    }
    return repr((item.rank, item.segment, item.world, columns, dict(item.quantum), dict(item.digits), item.lr_read))


def corpus(name: str, directory: Path) -> None:
    """The inputs to begin with."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [file.read_bytes() for file in sorted(FIXTURES.rglob("*")) if file.is_file()]
    for i, data in enumerate([*EXTRA.get(name, ()), *files]):
        path = directory / f"seed{i}"
        path.write_bytes(data)
        told = items(path, name, 64)
        if not any(text.startswith("(") for text in told) and i >= len(EXTRA.get(name, ())):
            path.unlink()
        elif name in ("csv", "jsonl", "megatron"):
            (directory / f"seed{i}.gz").write_bytes(gzip.compress(data, mtime=0))


def main() -> None:
    """Fuzz one reader."""
    _, name, directory, *options = sys.argv
    lrwatch._SMALL = 0  # type: ignore[misc]
    corpus(name, Path(directory))
    scratch = tempfile.TemporaryDirectory(prefix="lrwatch-fuzz-")
    path = Path(scratch.name) / "input"

    def one(data: bytes) -> None:
        path.write_bytes(data or b"\n")
        rows = 3 if len(data) % 2 else 1 << 16
        ways = []
        for used in (False, True) if POLARS and name in ("csv", "jsonl", "lrwatch") else (False,):
            _fast.USED = used  # type: ignore[misc]
            ways.append(items(path, name if len(data) % 3 else None, rows))
        assert ways[0] == ways[-1], f"polars reads {ways[1]}, we {ways[0]}"

    atheris.Setup([sys.argv[0], directory, *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
