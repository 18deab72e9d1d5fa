"""Signatures of contracts: what is signed, what a change does to it, and what every refusal says."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lrwatch.cli import main
from lrwatch.contract import from_document, load, signature
from lrwatch.contract.hash import Identity
from lrwatch.errors import LrwatchError, NotSigned

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CONTRACT = """\
lrwatch: 1
experiment: gpt-small
clock: {horizon: 20000}
lr: {base: 3e-4, schedule: [{linear: {from: 0, for: 200}}, {cosine: {to: 3.0e-5, until: horizon}}]}
"""


def private_pem(key: Ed25519PrivateKey, password: str | None = None) -> bytes:
    how = ser.BestAvailableEncryption(password.encode()) if password else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, how)


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


# The private keys of RFC 8032, section 7.1, tests 1 and 2.
MINE = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
OTHER = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A contract, a signature of it, and keys."""
    monkeypatch.chdir(tmp_path)
    for name in (signature.KEY, signature.PASSWORD):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    for name, key in (("mine", MINE), ("other", OTHER)):
        Path(f"{name}.pem").write_bytes(private_pem(key))
        Path(f"{name}.pub").write_bytes(public_pem(key))
    assert run("sign", "contract.yaml", "--key", "mine.pem").exit_code == 0
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["contract", *words])


def test_the_signed_bytes_are_two_lines() -> None:
    assert signature.payload(Identity("ab12", ("cd34",))) == b"lrwatch contract signature v1\nab12+cd34\n"


def test_a_signature_names_its_key_and_what_it_signs(room: Path) -> None:
    said = json.loads(Path("contract.yaml.sig").read_text())
    assert list(said) == ["lrwatch_signature", "algorithm", "experiment", "identity", "key", "signature"]
    assert said["identity"] == str(load("contract.yaml").identity)
    assert said["key"] == "21fe31dfa154a261"  # SHA-256 of d75a980182b10ab7…, the public key of RFC 8032's test 1
    MINE.public_key().verify(base64.b64decode(said["signature"]), signature.payload(load("contract.yaml").identity))


def test_verify_says_who_signed_what(room: Path) -> None:
    result = run("verify", "contract.yaml", "--key", "mine.pub")
    assert result.output == (
        f"contract.yaml: signed with key 21fe31dfa154a261, experiment gpt-small, "
        f"sha256 {load('contract.yaml').sha256[:12]}\n"
    )
    assert result.exit_code == 0


def test_the_way_a_contract_is_written_may_change(room: Path) -> None:
    Path("contract.yaml").write_text("# reviewed by three people\n" + CONTRACT.replace("3e-4", "0.0003"))
    assert run("verify", "contract.yaml", "--key", "mine.pub").exit_code == 0


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda text: text.replace("3e-4", "3e-3"), "another contract"),
        (lambda text: text + "amendments: [{at: 9, until: 10, multiply: {lr: 0.5}}]\n", "amended"),
    ],
)
def test_what_it_says_may_not(room: Path, change: Callable[[str], str], how: str) -> None:
    before = load("contract.yaml").sha256[:12]
    Path("contract.yaml").write_text(change(CONTRACT))
    result = run("verify", "contract.yaml", "--key", "mine.pub")
    assert result.output == (
        f"contract.yaml: is not what contract.yaml.sig signs: that is {before}, this is "
        f"{load('contract.yaml').sha256[:12]}, {how}; have it reviewed and signed again\n"
    )
    assert result.exit_code == 1


def test_an_edited_identity_deceives_nobody(room: Path) -> None:
    """The signature file claims to be of the changed contract; the signature itself is not."""
    Path("contract.yaml").write_text(CONTRACT.replace("3e-4", "3e-3"))
    said = json.loads(Path("contract.yaml.sig").read_text())
    Path("contract.yaml.sig").write_text(json.dumps({**said, "identity": str(load("contract.yaml").identity)}))
    result = run("verify", "contract.yaml", "--key", "mine.pub")
    assert "contract.yaml.sig is no signature of it, though it names the key 21fe31dfa154a261" in result.output
    assert result.exit_code == 1


def test_a_key_that_nobody_trusts(room: Path) -> None:
    result = run("verify", "contract.yaml", "--key", "other.pub")
    assert "is signed with key 21fe31dfa154a261, which other.pub does not hold (" in result.output
    assert result.exit_code == 1


def test_no_signature(room: Path) -> None:
    Path("contract.yaml.sig").unlink()
    result = run("verify", "contract.yaml", "--key", "mine.pub")
    assert result.output == (
        "contract.yaml: is not signed: there is no contract.yaml.sig; `lrwatch contract sign` makes it\n"
    )
    assert result.exit_code == 1


def test_a_new_key_is_trusted_before_the_old_one_goes(room: Path) -> None:
    Path("both.pub").write_bytes(b"the old one:\n" + public_pem(OTHER) + b"the new one:\n" + public_pem(MINE))
    assert run("verify", "contract.yaml", "--key", "both.pub").exit_code == 0


def test_an_older_signature_is_not_overwritten(room: Path) -> None:
    result = run("sign", "contract.yaml", "--key", "other.pem")
    assert result.stderr == "lrwatch: contract.yaml.sig: already exists; pass --force to overwrite it\n"
    assert result.exit_code == 2
    assert run("sign", "contract.yaml", "--key", "other.pem", "--force").exit_code == 0
    assert run("verify", "contract.yaml", "--key", "other.pub").exit_code == 0


def test_an_encrypted_key_needs_its_password(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("locked.pem").write_bytes(private_pem(MINE, "correct horse"))
    locked, here = Path("locked.pem"), load("contract.yaml")
    with pytest.raises(LrwatchError, match=r"^locked.pem: is encrypted; set LRWATCH_KEY_PASSWORD to its password$"):
        signature.sign(here, locked)
    monkeypatch.setenv("LRWATCH_KEY_PASSWORD", "wrong")
    with pytest.raises(LrwatchError, match=r"^locked.pem: the password in LRWATCH_KEY_PASSWORD does not open it$"):
        signature.sign(here, locked)
    monkeypatch.setenv("LRWATCH_KEY_PASSWORD", "correct horse")
    assert signature.sign(here, locked) == Path("contract.yaml.sig").read_text()
    assert signature.sign(here, Path("mine.pem")) == Path("contract.yaml.sig").read_text()  # which needs none


PUBLIC = "`openssl pkey -in key.pem -pubout -out key.pub` writes it"
PRIVATE = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, f"nowhere: no key can be read there (No such file or directory); {PUBLIC}"),
        ("empty", b"", f"empty: holds no public key in PEM; {PUBLIC}"),
        ("binary", bytes(range(256)), f"binary: holds no public key in PEM; {PUBLIC}"),
        ("private", private_pem(MINE),
         f"private: holds a private key, which belongs to nobody but who signs; {PUBLIC}"),
        ("torn", b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
         f"torn: holds a public key that cannot be read; {PUBLIC}"),
        ("curve", generate_private_key(SECP256R1()).public_key().public_bytes(
            ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo),
         f"curve: holds a key that is not an Ed25519 key; {PRIVATE}"),
    ],
)  # fmt: skip
def test_public_keys_that_cannot_be_used(room: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(LrwatchError, match=f"^{re.escape(message)}$"):
        signature.verify(load("contract.yaml"), Path(name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (public_pem(MINE), f"key: holds a public key, the private one signs; {PRIVATE}"),
        (b"secret", f"key: holds no private key in PEM; {PRIVATE}"),
        (generate_private_key(SECP256R1()).private_bytes(
            ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()),
         f"key: is not an Ed25519 key; {PRIVATE}"),
    ],
)  # fmt: skip
def test_private_keys_that_cannot_be_used(room: Path, content: bytes, message: str) -> None:
    Path("key").write_bytes(content)
    with pytest.raises(LrwatchError, match=f"^{re.escape(message)}$"):
        signature.sign(load("contract.yaml"), Path("key"))


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b'{"lrwatch_signature": 1, "algorithm": "ed25519"}'])
def test_a_signature_file_that_is_none(room: Path, text: bytes) -> None:
    Path("contract.yaml.sig").write_bytes(text)
    result = run("verify", "contract.yaml", "--key", "mine.pub")
    assert result.stderr == (
        "lrwatch: contract.yaml.sig: is no signature of a contract; `lrwatch contract sign` writes one\n"
    )
    assert result.exit_code == 2


def test_plain_data_cannot_be_signed_for(room: Path) -> None:
    data = dict(load("contract.yaml").document)
    with pytest.raises(NotSigned, match=r"^contract: was not read from a file, so no signature stands beside it; "):
        signature.verify(from_document(data), Path("mine.pub"))


def test_a_signature_is_required_only_where_it_is_asked_for(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = load("contract.yaml")
    assert signature.required(held) is None and signature.required(None) is None
    assert signature.required(held, "mine.pub") == "21fe31dfa154a261"
    monkeypatch.setenv("LRWATCH_CONTRACT_KEY", "other.pub")
    with pytest.raises(NotSigned, match=r"which other\.pub does not hold"):
        signature.required(held)
    with pytest.raises(NotSigned, match="there is none, and LRWATCH_CONTRACT_KEY asks for a signed one"):
        signature.required(None)


def test_without_cryptography_the_extra_is_named(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    result = run("verify", "contract.yaml", "--key", "mine.pub")
    assert result.stderr == (
        "lrwatch: signing and verifying a contract needs an optional dependency: pip install 'lrwatch[sign]'\n"
    )
    assert result.exit_code == 2


@pytest.mark.tool("openssl")
def test_openssl_agrees(room: Path, tool: Callable[[str], str]) -> None:
    """Somebody without lrwatch can check a signature, and one made by openssl is accepted."""
    openssl = tool("openssl")
    said = json.loads(Path("contract.yaml.sig").read_text())
    Path("raw").write_bytes(base64.b64decode(said["signature"]))
    Path("signed").write_text(f"lrwatch contract signature v1\n{said['identity']}\n")
    words = ["pkeyutl", "-verify", "-pubin", "-inkey", "mine.pub", "-rawin", "-in", "signed", "-sigfile", "raw"]
    done = subprocess.run([openssl, *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully"), done.stderr
    made = subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", "new.pem"], capture_output=True)
    assert made.returncode == 0
    subprocess.run([openssl, "pkey", "-in", "new.pem", "-pubout", "-out", "new.pub"], check=True)
    assert run("sign", "contract.yaml", "--key", "new.pem", "--force").exit_code == 0
    assert run("verify", "contract.yaml", "--key", "new.pub").exit_code == 0
