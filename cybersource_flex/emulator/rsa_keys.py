"""``RsaKeys``: RSA keys for one emulator. Keys of emulators that no longer exist are used again."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

_unused: Final[deque[rsa.RSAPrivateKey]] = deque()


class RsaKeys:
    """Issues 2048-bit keys. Two objects that exist at the same time never issue the same key.

    Generating a key takes 50 to 100 ms, which is most of the time that an emulator needs to start. If a test suite
    starts an emulator for each test, keys are generated only for the first emulators.
    """

    def __init__(self) -> None:
        self._issued: list[rsa.RSAPrivateKey] = []
        weakref.finalize(self, _unused.extend, self._issued).atexit = False

    def new(self) -> rsa.RSAPrivateKey:
        """A key that this object has not issued before."""
        try:
            key = _unused.popleft()
        except IndexError:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._issued.append(key)
        return key
