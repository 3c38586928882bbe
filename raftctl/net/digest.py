"""HMAC-SHA-256 for who has a secret.

The module `hmac` brings OpenSSL with it: 2 MiB a process and 3 ms that who has no secret need not pay. Any
thread.
"""

from __future__ import annotations

from typing import Union


def prepare() -> None:
    """Load what the others use: a daemon with a secret calls it before it says READY."""
    digest(b"", b"")


def digest(secret: bytes, data: bytes) -> bytes:
    import hmac

    return hmac.digest(secret, data, "sha256")


def is_equal(one: Union[bytes, str], other: Union[bytes, str]) -> bool:
    """Compare in a time that does not tell where they differ; text must be ASCII."""
    import hmac

    return hmac.compare_digest(one, other)  # type: ignore[type-var]
