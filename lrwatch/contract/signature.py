"""Who stands behind a contract: a detached Ed25519 signature of its identity.

Signed are two lines, in UTF-8, each ended by a line feed::

    lrwatch contract signature v1
    <the identity, as `lrwatch contract hash` prints it>

So a signature covers what the contract says, amendments included, and not how it is written: comments, order of keys
and ways to write a number may change under it, a value or one more amendment may not. It stands in FILE.sig beside the
contract; what that file says besides the signature itself is for people and is not believed.

Keys are PEM, as openssl writes them: PKCS#8 for the private one, SubjectPublicKeyInfo for the public. A file may hold
several public keys, so that a new one can be trusted before the old one goes. RFC 8032 has the mathematics.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from lrwatch.contract.hash import Identity, compare
from lrwatch.contract.model import Contract
from lrwatch.errors import LrwatchError, MissingExtra, NotSigned

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY: Final = "LRWATCH_CONTRACT_KEY"
"""Environment variable: the file of trusted public keys. Where it is set, nothing trains under an unsigned contract."""
PASSWORD: Final = "LRWATCH_KEY_PASSWORD"
"""Environment variable: the password of an encrypted private key."""
CONTEXT: Final = "lrwatch contract signature v1"
_MAKE: Final = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"
_GIVE: Final = "`openssl pkey -in key.pem -pubout -out key.pub` writes it"
_PUBLIC: Final = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.S)
_LARGEST: Final = 1 << 16


def payload(identity: Identity) -> bytes:
    """The bytes that are signed."""
    return f"{CONTEXT}\n{identity}\n".encode()


def beside(contract: Path) -> Path:
    """Where the signature of a contract stands: ``contract.yaml`` → ``contract.yaml.sig``."""
    return contract.with_name(f"{contract.name}.sig")


def sign(contract: Contract, key: Path) -> str:
    """The text of the signature file.

    Raises:
        LrwatchError: the key cannot be read, is no Ed25519 key, or is encrypted and LRWATCH_KEY_PASSWORD does not open
            it. MissingExtra: without cryptography.
    """
    private = _private(key)
    said = {
        "lrwatch_signature": 1,
        "algorithm": "ed25519",
        "experiment": contract.experiment,
        "identity": str(contract.identity),
        "key": fingerprint(private.public_key()),
        "signature": base64.b64encode(private.sign(payload(contract.identity))).decode(),
    }
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def verify(contract: Contract, keys: Path, signature: Path | None = None) -> str:
    """The fingerprint of the trusted key that signed this contract.

    Args:
        keys: one or more public keys in PEM. signature: default: beside the file the contract was read from.

    Raises:
        NotSigned: there is no signature, it is of something else, or none of the keys made it.
        LrwatchError: keys or signature file cannot be used. MissingExtra: without cryptography.
    """
    trusted = _public(keys)
    source = Path(contract.source)
    if signature is None:
        if not source.is_file():
            raise NotSigned(
                "was not read from a file, so no signature stands beside it; give the path of a signed contract",
                source=contract.source,
            )
        signature = beside(source)
    made, said = _read(signature, contract)
    from cryptography.exceptions import InvalidSignature

    for key in trusted:
        try:
            key.verify(made, payload(contract.identity))
        except InvalidSignature:
            continue
        return fingerprint(key)
    raise NotSigned(_why(contract, trusted, said, signature, keys), source=contract.source)


def required(contract: Contract | None, keys: str | os.PathLike[str] | None = None) -> str | None:
    """What ``verify`` says where a signature is asked for, by ``keys`` or by LRWATCH_CONTRACT_KEY; else None.

    Raises:
        NotSigned, LrwatchError: see ``verify``; also where one is asked for and there is no contract at all.
    """
    asked = os.environ.get(KEY, "") if keys is None else os.fspath(keys)
    if not asked:
        return None
    if contract is None:
        raise NotSigned(f"there is none, and {KEY} asks for a signed one; give contract=")
    return verify(contract, Path(asked))


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _why(contract: Contract, trusted: list[Ed25519PublicKey], said: dict[str, Any], at: Path, keys: Path) -> str:
    """What the signature file says of itself is good enough to explain a refusal with."""
    signed = Identity.parse(str(said.get("identity")))
    if signed != contract.identity:
        how = "amended" if compare(signed, contract.identity) == "amended" else "another contract"
        return (
            f"is not what {at.name} signs: that is {signed.sha256[:12]}, this is {contract.identity.sha256[:12]}, "
            f"{how}; have it reviewed and signed again"
        )
    names = ", ".join(fingerprint(key) for key in trusted)
    if said.get("key") not in [fingerprint(key) for key in trusted]:
        return f"is signed with key {said.get('key')}, which {keys} does not hold ({names}); have its owner sign it"
    return f"{at.name} is no signature of it, though it names the key {names}: it was damaged or forged; sign it again"


def _read(path: Path, contract: Contract) -> tuple[bytes, dict[str, Any]]:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode()
        said = json.loads(text)
        if not isinstance(said, dict) or said.get("lrwatch_signature") != 1 or said.get("algorithm") != "ed25519":
            raise ValueError("not a signature of version 1 with ed25519")
        return base64.b64decode(str(said["signature"]), validate=True), said
    except FileNotFoundError:
        raise NotSigned(
            f"is not signed: there is no {path}; `lrwatch contract sign` makes it", source=contract.source
        ) from None
    except OSError as error:
        raise LrwatchError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, binascii.Error):
        raise LrwatchError(f"{path}: is no signature of a contract; `lrwatch contract sign` writes one") from None


def _private(path: Path) -> Ed25519PrivateKey:
    data = _bytes(path, _MAKE)
    ed25519, serialization = _cryptography()
    password = os.environ.get(PASSWORD)
    encrypted = b"ENCRYPTED" in data
    if encrypted and not password:
        raise LrwatchError(f"{path}: is encrypted; set {PASSWORD} to its password")
    try:
        key = serialization.load_pem_private_key(data, password.encode() if password and encrypted else None)
    except (TypeError, ValueError):
        if encrypted:
            raise LrwatchError(f"{path}: the password in {PASSWORD} does not open it") from None
        what = "holds a public key, the private one signs" if b"PUBLIC KEY" in data else "holds no private key in PEM"
        raise LrwatchError(f"{path}: {what}; {_MAKE}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise LrwatchError(f"{path}: is not an Ed25519 key; {_MAKE}")
    return cast("Ed25519PrivateKey", key)


def _public(path: Path) -> list[Ed25519PublicKey]:
    text = _bytes(path, _GIVE).decode(errors="replace")
    ed25519, serialization = _cryptography()
    if "PRIVATE KEY" in text:
        raise LrwatchError(f"{path}: holds a private key, which belongs to nobody but who signs; {_GIVE}")
    found = []
    for block in _PUBLIC.findall(text):
        try:
            key = serialization.load_pem_public_key(block.encode())
        except ValueError:
            raise LrwatchError(f"{path}: holds a public key that cannot be read; {_GIVE}") from None
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise LrwatchError(f"{path}: holds a key that is not an Ed25519 key; {_MAKE}")
        found.append(key)
    if not found:
        raise LrwatchError(f"{path}: holds no public key in PEM; {_GIVE}")
    return found


def _bytes(path: Path, remedy: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise LrwatchError(f"{path}: no key can be read there ({error.strerror}); {remedy}") from None


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError:
        raise MissingExtra("signing and verifying a contract", "sign") from None
    return ed25519, serialization
