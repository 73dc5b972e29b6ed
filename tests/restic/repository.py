"""A restic repository made by hand, because restic takes a second for each snapshot it makes.

Only what `restic forget --dry-run` reads is there: a key, the configuration and snapshots, whose
files it never looks for. Source: the chapters "Repository Format" and "Keys, Encryption and MAC" of
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

PASSWORD = "sesame"  # noqa: S105 - it guards made-up snapshots
FOLDERS = ("data", "index", "keys", "locks", "snapshots")
# The cheapest cost that restic takes; its own choice costs half a second at each start.
COST = {"N": 2, "r": 1, "p": 1}
CONFIGURATION = {"version": 1, "id": "5a" * 32, "chunker_polynomial": "23119cadd62b65"}


class Keys(NamedTuple):
    """What encrypts and signs a file, in the order in which a password yields it."""

    encryption: bytes
    signing_key: bytes
    signing_number: bytes

    @classmethod
    def cut_from(cls, secret: bytes) -> "Keys":
        return cls(secret[:32], secret[32:48], secret[48:64])

    def seal(self, content: bytes) -> bytes:
        nonce = os.urandom(16)
        counted = Cipher(algorithms.AES(self.encryption), modes.CTR(nonce)).encryptor()
        hidden = counted.update(content) + counted.finalize()
        block = Cipher(algorithms.AES(self.signing_key), modes.ECB()).encryptor()  # noqa: S305
        once = self.signing_number + block.update(nonce)
        return nonce + hidden + Poly1305.generate_tag(once, hidden)

    def as_json(self) -> bytes:
        mac = {"k": _text(self.signing_key), "r": _text(self.signing_number)}
        return json.dumps({"mac": mac, "encrypt": _text(self.encryption)}).encode()


class Repository:
    """An empty repository in a new folder, to which snapshots are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = Keys.cut_from(os.urandom(64))
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        sealed = self.keys.seal(json.dumps(CONFIGURATION).encode())
        (folder / "config").write_bytes(sealed)
        self._write("keys", _locked(self.keys))

    def add(self, snapshot: Mapping[str, object]) -> None:
        self._write("snapshots", self.keys.seal(json.dumps(snapshot).encode()))

    def _write(self, kind: str, content: bytes) -> None:
        (self.folder / kind / sha256(content).hexdigest()).write_bytes(content)


def _locked(keys: Keys) -> bytes:
    salt = os.urandom(64)
    cost = {name.lower(): number for name, number in COST.items()}
    secret = scrypt(PASSWORD.encode(), salt=salt, dklen=64, **cost)
    sealed = Keys.cut_from(secret).seal(keys.as_json())
    about = {"created": "2026-01-01T00:00:00Z", "kdf": "scrypt", **COST}
    return json.dumps({**about, "salt": _text(salt), "data": _text(sealed)}).encode()


def _text(content: bytes) -> str:
    return b64encode(content).decode()
