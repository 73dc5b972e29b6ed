"""A restic repository written without restic, which needs a second for each snapshot.

It has only what `restic forget --dry-run` reads: a key, the configuration and snapshots, without
their files. Source: the chapters "Repository Format" and "Keys, Encryption and MAC" of
restic's reference on its design.
"""

import json
import os
from base64 import b64encode
from collections.abc import Mapping
from hashlib import scrypt, sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

PASSWORD = "sesame"  # noqa: S105 - it protects generated snapshots
FOLDERS = ("data", "index", "keys", "locks", "snapshots")
# The lowest cost that restic accepts; its default takes half a second at each start.
COST = {"N": 2, "r": 1, "p": 1}
CONFIGURATION = {"version": 1, "id": "5a" * 32, "chunker_polynomial": "23119cadd62b65"}


class Keys(NamedTuple):
    """The keys that encrypt and sign a file, in the order of key derivation."""

    encryption: bytes
    signing_key: bytes
    signing_number: bytes

    @classmethod
    def from_secret(cls, secret: bytes) -> "Keys":
        return cls(secret[:32], secret[32:48], secret[48:64])

    def seal(self, content: bytes) -> bytes:
        nonce = os.urandom(16)
        encryptor = Cipher(algorithms.AES(self.encryption), modes.CTR(nonce)).encryptor()
        ciphertext = encryptor.update(content) + encryptor.finalize()
        block = Cipher(algorithms.AES(self.signing_key), modes.ECB()).encryptor()  # noqa: S305
        one_time_key = self.signing_number + block.update(nonce)
        return nonce + ciphertext + Poly1305.generate_tag(one_time_key, ciphertext)

    def as_json(self) -> bytes:
        mac = {"k": _text(self.signing_key), "r": _text(self.signing_number)}
        return json.dumps({"mac": mac, "encrypt": _text(self.encryption)}).encode()


class Repository:
    """A repository in a new folder, empty at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = Keys.from_secret(os.urandom(64))
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        sealed = self.keys.seal(json.dumps(CONFIGURATION).encode())
        (folder / "config").write_bytes(sealed)
        self._write("keys", _encrypt_keys(self.keys))

    def add(self, snapshot: Mapping[str, object]) -> None:
        self._write("snapshots", self.keys.seal(json.dumps(snapshot).encode()))

    def _write(self, kind: str, content: bytes) -> None:
        (self.folder / kind / sha256(content).hexdigest()).write_bytes(content)


def _encrypt_keys(keys: Keys) -> bytes:
    salt = os.urandom(64)
    cost = {name.lower(): number for name, number in COST.items()}
    secret = scrypt(PASSWORD.encode(), salt=salt, dklen=64, **cost)
    sealed = Keys.from_secret(secret).seal(keys.as_json())
    header = {"created": "2026-01-01T00:00:00Z", "kdf": "scrypt", **COST}
    return json.dumps({**header, "salt": _text(salt), "data": _text(sealed)}).encode()


def _text(content: bytes) -> str:
    return b64encode(content).decode()
