"""The replicated state machine: revisions, comparisons, determinism (pitfall 2.4)."""

from __future__ import annotations

import random

import pytest

from raftctl.base.errors import OurFault
from raftctl.store.commands import Malformed, encode_delete, encode_put
from raftctl.store.machine import COMPARE_FAILED, NOT_FOUND, Result, Store


def store_with(*bodies):
    store = Store()
    for index, body in enumerate(bodies, 1):
        store.apply(index, body)
    return store


def test_the_revision_is_the_index_of_the_last_change():
    store = store_with(encode_put(b"a", b"1"), encode_put(b"b", b"2"))
    assert store.apply(9, encode_put(b"a", b"3")) == Result(True, 9, None)
    assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == ((b"3", 9), (b"2", 2), None)


@pytest.mark.parametrize(
    ("if_revision", "result"),
    (
        (None, Result(True, 5, None)),
        (1, Result(True, 5, None)),
        (0, Result(False, 1, COMPARE_FAILED)),
        (2, Result(False, 1, COMPARE_FAILED)),
    ),
)
def test_a_put_on_a_present_key(if_revision, result):
    store = store_with(encode_put(b"k", b"old"))
    assert store.apply(5, encode_put(b"k", b"new", if_revision)) == result
    assert store.get(b"k") == ((b"new", 5) if result.ok else (b"old", 1))


@pytest.mark.parametrize(
    ("if_revision", "result"),
    (
        (None, Result(True, 5, None)),
        (0, Result(True, 5, None)),
        (1, Result(False, 0, COMPARE_FAILED)),
    ),
)
def test_a_put_on_an_absent_key(if_revision, result):
    store = store_with(encode_put(b"k", b"old"), encode_delete(b"k"))
    assert store.apply(5, encode_put(b"k", b"new", if_revision)) == result


@pytest.mark.parametrize(
    ("key", "if_revision", "result"),
    (
        (b"k", None, Result(True, 5, None)),
        (b"k", 1, Result(True, 5, None)),
        (b"k", 2, Result(False, 1, COMPARE_FAILED)),
        (b"x", None, Result(False, 0, NOT_FOUND)),
        (b"x", 0, Result(False, 0, NOT_FOUND)),
        (b"x", 4, Result(False, 0, COMPARE_FAILED)),
    ),
)
def test_a_delete(key, if_revision, result):
    store = store_with(encode_put(b"k", b"v"))
    assert store.apply(5, encode_delete(key, if_revision)) == result
    assert (store.get(b"k") is None) == result.ok


def test_count_and_bytes_follow_every_change():
    store = store_with(encode_put(b"key", b"value"), encode_put(b"key", b"v"), encode_put(b"other", b""))
    assert (store.count, store.bytes) == (2, 9)
    store.apply(4, encode_delete(b"key"))
    store.apply(5, encode_put(b"other", b"x", 1))
    assert (store.count, store.bytes) == (1, 5)


def test_a_malformed_command_stops_before_anything_changed():
    store = store_with(encode_put(b"k", b"v"))
    digest = store.digest()
    with pytest.raises(Malformed):
        store.apply(2, b"\x09")
    assert (store.digest(), store.applied, store.bytes) == (digest, 1, 2)


@pytest.mark.parametrize("index", (0, 1, 2))
def test_p1_an_entry_is_never_applied_twice(index):
    store = store_with(encode_put(b"k", b"v"), encode_put(b"k", b"w"))
    with pytest.raises(OurFault):
        store.apply(index, encode_put(b"k", b"x"))


def test_equal_entries_give_equal_digests_at_each_index_whatever_was_read_between():
    draw = random.Random(1)
    one, other = Store(), Store()
    for index in range(1, 300):
        key = f"k{int(draw.random() * 9)}".encode()
        condition = None if draw.random() < 0.6 else int(draw.random() * index)
        body = (
            encode_delete(key, condition)
            if draw.random() < 0.3
            else encode_put(key, b"%d" % index, condition)
        )
        results = [store.apply(index, body) for store in (one, other)]
        one.get(key)
        assert results[0] == results[1] and one.digest() == other.digest()


def test_the_digest_shows_key_value_revision_and_where_one_ends():
    states = [
        store_with(encode_put(b"a", b"bc")), store_with(encode_put(b"ab", b"c")),
        store_with(encode_put(b"a", b"bd")),
        store_with(encode_delete(b"a"), encode_put(b"a", b"bc")), Store(),
    ]  # fmt: skip
    assert len({state.digest() for state in states}) == len(states)


def test_the_digest_does_not_depend_on_the_order_of_insertion():
    one = store_with(encode_put(b"a", b"1"), encode_put(b"b", b"2"))
    other = store_with(encode_put(b"b", b"x"), encode_put(b"b", b"2"))
    other.apply(3, encode_put(b"a", b"1"))
    one.apply(3, encode_put(b"a", b"1"))
    assert one.digest() == other.digest()
