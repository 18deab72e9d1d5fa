"""The endpoint: exact text, real scrapes, and what happens when the port is not to be had."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lrwatch.agent.arguments import tls
from lrwatch.agent.exporter import Collector, Exporter
from lrwatch.agent.meters import Histogram, Snapshot
from lrwatch.errors import LrwatchError

GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"

SNAPSHOT = Snapshot(
    {
        "lrwatch_learning_rate": ((("0",), 3e-4), (('he"ad\\\n',), float("nan"))),
        "lrwatch_step": (((), 1234567.0),),
        "lrwatch_steps_total": (((), 20.0),),
        "lrwatch_contract_info": ((("ab12",), 1.0),),
        "lrwatch_finding_active": ((("LR101", "error"), 1.0),),
        "lrwatch_finding_cause_info": ((("LR101", "rate"), 1.0),),
        "lrwatch_gpu_seconds_total": (((), 1.5),),
        "lrwatch_loss": (((), 2.25),),
        "lrwatch_run_state": ((("running",), 1.0), (("failed",), 0.0)),
        "lrwatch_runs_total": ((("not", "of a worker"), 1.0),),
    },
    {"lrwatch_step_seconds": Histogram((("0.1", 1.0), ("+Inf", 3.0)), 0.75)},
)


def exporter(port: int | None = None, run_dir: Path | None = None, rank: int = 0) -> Exporter:
    made = Exporter(lambda: SNAPSHOT, run_id="run-1", rank=rank, host="127.0.0.1", port=port, run_dir=run_dir)
    made.start()
    return made


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Exporter]:
    made = exporter(run_dir=tmp_path)
    yield made
    made.close()


def scrape(url: str | None) -> str:
    assert url is not None
    with urllib.request.urlopen(url, timeout=60) as response:
        return str(response.read().decode())


def test_the_text_of_a_scrape_is_exact() -> None:
    registry = CollectorRegistry()
    registry.register(Collector(lambda: SNAPSHOT, 'r"1', 0))
    assert generate_latest(registry).decode() == GOLDEN.read_text()


def test_other_ranks_do_not_have_the_series_of_rank_0() -> None:
    registry = CollectorRegistry()
    registry.register(Collector(lambda: SNAPSHOT, "r", 3))
    text = generate_latest(registry).decode()
    assert "lrwatch_loss" not in text
    assert "lrwatch_step_seconds" not in text
    assert 'lrwatch_step{rank="3",run_id="r"} 1.234567e+06' in text


def test_registering_asks_for_no_values() -> None:
    def read() -> Snapshot:
        raise AssertionError("nobody scraped")

    CollectorRegistry(auto_describe=True).register(Collector(read, "r", 0))


def test_a_real_scrape_has_run_and_rank_on_every_sample(running: Exporter) -> None:
    families = list(text_string_to_metric_families(scrape(running.url)))
    samples = [sample for family in families for sample in family.samples]
    assert len(samples) == 11 + 4  # plain ones, and a histogram of two buckets with its sum and count
    assert {(s.labels["run_id"], s.labels["rank"]) for s in samples} == {("run-1", "0")}
    assert [s.labels["group"] for s in samples if s.name == "lrwatch_learning_rate"] == ["0", 'he"ad\\\n']


def test_openmetrics_is_served_to_who_asks_for_it(running: Exporter) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(str(running.url), headers=accept)
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode()
    assert text.endswith("# EOF\n")
    assert '# TYPE lrwatch_contract info\n' in text


def test_any_free_port_on_loopback_and_a_file_that_says_which(running: Exporter, tmp_path: Path) -> None:
    target = tmp_path / "targets" / "rank00000.json"
    assert running.url == f"http://127.0.0.1:{running.port}/metrics"
    assert json.loads(target.read_text()) == [
        {"targets": [f"127.0.0.1:{running.port}"], "labels": {"job": "lrwatch"}}
    ]
    assert [p.name for p in target.parent.iterdir()] == ["rank00000.json"]
    running.close()
    assert not target.exists()
    assert (running.url, running.port) == (None, None)


def test_a_wished_port_is_taken(free_port: Callable[[], int]) -> None:
    port = free_port()
    made = exporter(port)
    try:
        assert (made.port, made.problems) == (port, [])
    finally:
        made.close()


def test_a_port_in_use_is_said_and_another_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        made = exporter(port)
        try:
            assert made.problems == [
                f"cannot listen on 127.0.0.1:{port} (Address already in use); taking any free port"
            ]
            assert made.port not in (None, port)
            assert "lrwatch_step" in scrape(made.url)
        finally:
            made.close()


def test_without_any_port_there_are_no_metrics_and_no_exception(tmp_path: Path) -> None:
    made = Exporter(lambda: SNAPSHOT, run_id="r", rank=0, host="203.0.113.1", port=9, run_dir=tmp_path)
    made.start()
    assert [p.partition(" (")[0] for p in made.problems] == [
        "cannot listen on 203.0.113.1:9", "cannot listen on 203.0.113.1:0",
    ]  # fmt: skip
    assert made.problems[1].endswith("no metrics will be served")
    assert made.url is None
    assert not (tmp_path / "targets").exists()
    made.close()


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "targets").write_text("a file is in the way")
    made = exporter(run_dir=tmp_path)
    try:
        assert len(made.problems) == 1
        assert made.problems[0].startswith(f"{tmp_path}/targets/rank00000.json: cannot be written")
        assert "lrwatch_step" in scrape(made.url)
    finally:
        made.close()


def test_a_scraper_that_hangs_or_hangs_up_disturbs_nobody(
    running: Exporter, capfd: pytest.CaptureFixture[str]
) -> None:
    assert running.port is not None
    with socket.create_connection(("127.0.0.1", running.port)) as hanging:
        hanging.sendall(b"GET /metrics HTTP/1.1\r\n")
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.port)) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                gone.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert "lrwatch_step" in scrape(running.url)
    threads = [threading.Thread(target=scrape, args=(running.url,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capfd.readouterr().err == ""


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca``, ``server`` and ``client``, each with ``.pem`` and ``.key``; ``stranger`` is of another CA."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for ca in ("ca", "other"):
        openssl(*new, "-x509", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder


def secured(folder: Path, **more: str) -> dict[str, object]:
    files = {"certfile": "server.pem", "keyfile": "server.key"} | more
    return tls({name: folder / file for name, file in files.items()})


def ask(url: str | None, folder: Path, who: str | None = None) -> str:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if who is not None:
        context.load_cert_chain(folder / f"{who}.pem", folder / f"{who}.key")
    with urllib.request.urlopen(str(url), timeout=60, context=context) as response:
        return str(response.read().decode())


def test_https_and_clients_that_must_show_who_they_are(certificates: Path, tmp_path: Path) -> None:
    common = {"run_id": "r", "rank": 0, "host": "127.0.0.1", "port": None}
    plain = Exporter(lambda: SNAPSHOT, **common, run_dir=tmp_path, tls=secured(certificates))
    mutual = Exporter(lambda: SNAPSHOT, **common, run_dir=None, tls=secured(certificates, client_cafile="ca.pem"))
    for made in (plain, mutual):
        made.start()
        assert made.problems == []
    try:
        (target,) = json.loads((tmp_path / "targets" / "rank00000.json").read_text())
        assert target["labels"] == {"job": "lrwatch", "__scheme__": "https"}
        silent = socket.create_connection(("127.0.0.1", mutual.port), timeout=5)  # it never begins to speak TLS
        assert "lrwatch_step" in ask(plain.url, certificates)
        assert "lrwatch_step" in ask(mutual.url, certificates, "client")
        for who in (None, "stranger"):
            with pytest.raises(OSError):
                ask(mutual.url, certificates, who)
        with pytest.raises(OSError):
            scrape(str(plain.url).replace("https", "http"))
        silent.close()
    finally:
        plain.close()
        mutual.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"certfile": "a.pem", "keyfile": "a.key"}, "tls certfile: a.pem: no such file"),
        ({"certfile": __file__}, "tls needs certfile and keyfile"),
        ({"cert_file": __file__}, "tls has no 'cert_file'; did you mean 'certfile'?"),
        ({"certfile": __file__, "keyfile": __file__}, "tls: certfile and keyfile cannot be used: "),
    ],
)
def test_tls_that_cannot_be_is_an_error_and_never_plain_text(options: dict[str, str], said: str) -> None:
    with pytest.raises(LrwatchError) as error:
        tls(options)
    assert said in str(error.value)
