"""Bytes of store commands: whole, cut at every length, at every limit."""

from __future__ import annotations

import pytest

from raftctl.base.errors import OurFault, UsageError
from raftctl.store.commands import (
    DELETE,
    KEY_LIMIT,
    PUT,
    VALUE_LIMIT,
    Command,
    Malformed,
    TooLarge,
    check_key,
    check_value,
    decode,
    encode_delete,
    encode_put,
)

LARGEST = 2**64 - 1


@pytest.mark.parametrize("if_revision", (None, 0, 1, LARGEST))
@pytest.mark.parametrize("key", (b"k", "größe".encode(), b"k" * KEY_LIMIT))
@pytest.mark.parametrize("value", (b"", b"\x00\xff", b"v" * VALUE_LIMIT))
def test_a_command_comes_back_as_it_was(key, value, if_revision):
    assert decode(encode_put(key, value, if_revision)) == Command(PUT, key, value, if_revision)
    assert decode(encode_delete(key, if_revision)) == Command(DELETE, key, b"", if_revision)


def test_the_bytes_do_not_change_between_releases():
    assert encode_put(b"key", b"value", 7) == b"\x01\x01" + bytes(7) + b"\x07\x00\x03keyvalue"
    assert encode_delete(b"key") == b"\x02\x00\x00\x03key"


def test_a_command_cut_anywhere_before_its_value_is_malformed():
    whole = encode_put(b"key", b"", 7)
    for size in range(len(whole)):
        with pytest.raises(Malformed):
            decode(whole[:size])


@pytest.mark.parametrize("body", (
    b"\x00\x00\x00\x01k", b"\x03\x00\x00\x01k",  # operation
    b"\x01\x02\x00\x01k", b"\x01\x81" + bytes(8) + b"\x00\x01k",  # flags
    b"\x01\x00\x00\x00", b"\x01\x00\x04\x01" + b"k" * 1025,  # size of the key
    b"\x01\x00\x00\x01\xff",  # no UTF-8
    b"\x02\x00\x00\x01kx",  # a delete with a value
    b"\x01\x00\x00\x01k" + b"v" * (VALUE_LIMIT + 1),
))  # fmt: skip
def test_what_no_writer_of_ours_produces_is_malformed(body):
    with pytest.raises(Malformed):
        decode(body)


@pytest.mark.parametrize(
    ("key", "error", "text"),
    (
        (b"", UsageError, "the key is empty"),
        (b"k" * 1025, TooLarge, "the key has 1025 bytes, at most 1024 are allowed"),
        (b"a\xff", UsageError, "is no UTF-8 text"),
    ),
)
def test_p9_a_bad_key_is_refused_with_its_reason(key, error, text):
    with pytest.raises(error, match=text):
        check_key(key)
    check_key(b"k" * 1024)


def test_p9_a_value_over_the_limit_is_refused():
    check_value(b"v" * VALUE_LIMIT)
    with pytest.raises(TooLarge, match="the value has 262145 bytes, at most 262144 are allowed"):
        check_value(b"v" * (VALUE_LIMIT + 1))


def test_encoding_what_was_not_checked_is_our_fault():
    for encode in (
        lambda: encode_put(b"", b""),
        lambda: encode_delete(b"\xff"),
        lambda: encode_put(b"k", b"v" * (VALUE_LIMIT + 1)),
        lambda: encode_put(b"k", b"", -1),
    ):
        with pytest.raises(OurFault):
            encode()
