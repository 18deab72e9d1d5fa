"""Prometheus remote write 1.0, encoded by hand: a WriteRequest has three kinds of fields, and a library for it would
bring more than it saves. https://prometheus.io/docs/specs/prw/remote_write_spec/

    WriteRequest {1: TimeSeries*}   TimeSeries {1: Label*, 2: Sample*}   Label {1: name, 2: value}
    Sample {1: double value, 2: int64 milliseconds}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EARLIEST: Final = 1 << 35
LATEST: Final = 1 << 42
"""Milliseconds of Unix time, 1971 to 2109, whose varint has six bytes: samples of one size are encoded all at once."""
_NAN: Final = np.array(0x7FF8000000000001, dtype="<u8").view("<f8")
"""Prometheus's own NaN. Another one means that a series has ended."""


def series(labels: Mapping[str, str], times: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """A TimeSeries.

    Args:
        labels: ``__name__`` among them. times: int64[n], milliseconds in ``[EARLIEST, LATEST)``, ascending.
        values: float64[n].
    """
    pairs = [(name.encode(), labels[name].encode(errors="replace")) for name in sorted(labels)]
    parts = [_field(1, _field(1, name) + _field(2, value)) for name, value in pairs]
    return b"".join([*parts, _samples(times, values)])


def request(all_series: Iterable[bytes]) -> bytes:
    """A WriteRequest, compressed."""
    return snappy(b"".join(_field(1, one) for one in all_series))


def snappy(data: bytes) -> bytes:
    """A block in snappy's format, of literals only: valid, and not smaller.

    Compressed, a row of four series would be 44 bytes instead of 72: not worth a dependency.
    """
    parts = [varint(len(data))]
    for at in range(0, len(data), 1 << 16):
        literal = data[at : at + (1 << 16)]
        parts += [b"\xf4", (len(literal) - 1).to_bytes(2, "little"), literal]
    return b"".join(parts)


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def _samples(times: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """Field 2 of a TimeSeries, n times."""
    out: NDArray[Any] = np.empty((len(times), 18), np.uint8)
    out[:, :3] = 0x12, 16, 0x09
    finite = np.where(np.isnan(values), _NAN, values).astype("<f8")
    out[:, 3:11] = finite.view(np.uint8).reshape(-1, 8)
    out[:, 11] = 0x10
    for i in range(6):
        out[:, 12 + i] = times >> (7 * i) & 0x7F | (0x80 if i < 5 else 0)
    return out.tobytes()
