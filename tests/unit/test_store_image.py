"""The bytes of a snapshot of the store: equal for equal stores, strict when read, in slices both ways."""

from __future__ import annotations

import pytest

from raftctl.store.commands import VALUE_LIMIT, Malformed, encode_delete, encode_put
from raftctl.store.image import SLICE_BYTES, Loader
from raftctl.store.machine import Store
from raftctl.store.takeovers import Record, encode_done, encode_open


def store_of(*commands):
    store = Store()
    for index, body in enumerate(commands, 3):
        store.apply(index, body)
    return store


def bytes_of(store):
    return b"".join(store.image().slices())


def loaded(data, size=SLICE_BYTES):
    loader = Loader()
    for start in range(0, len(data), size):
        loader.feed(data[start:start + size])
    return Store(loader.finish())


SMALL = store_of(encode_put(b"a", b"1"), encode_put("\xe9".encode(), b""), encode_put(b"b", b"\0\xff"),
                 encode_put(b"a", b"2"), encode_delete(b"b"))


def test_pitfall_2_4_a_loaded_store_is_the_same_store():
    found = loaded(bytes_of(SMALL))
    assert (found.digest(), found.applied, found.bytes, found.count) == (
        SMALL.digest(), SMALL.applied, SMALL.bytes, SMALL.count)
    assert found.get(b"a") == (b"2", 6)
    found.apply(8, encode_put(b"c", b"3", 0))
    SMALL.image()
    assert bytes_of(loaded(bytes_of(found))) == bytes_of(found)


def test_an_empty_store_has_an_image():
    assert loaded(bytes_of(Store())).digest() == Store().digest()


def test_equal_stores_have_equal_bytes_however_they_came_about():
    one = Store()
    for index, key in enumerate((b"x", b"y", b"x"), 1):
        one.apply(index, encode_put(key, b"v"))
    other = Store()
    for index, key in enumerate((b"z", b"y", b"x"), 1):
        other.apply(index, encode_put(key, b"v"))
    other._forget(b"z")
    assert bytes_of(one) == bytes_of(other) == bytes_of(loaded(bytes_of(one)))


def test_p6_the_last_takeover_record_is_in_the_image_and_the_digest():
    store = store_of(encode_put(b"a", b"1"))
    before = store.digest()
    store.apply_takeover(8, 2, encode_open("n1", 3, 40))
    found = loaded(bytes_of(store))
    assert found.takeover == store.takeover == Record(8, 2, "n1", 3, 40)
    assert found.digest() == store.digest() != before
    assert sum(map(len, store.image().slices())) == store.image().size
    found.apply_takeover(9, 2, encode_done(8))
    assert loaded(bytes_of(found)).takeover.done


def test_an_image_of_the_format_before_has_no_record():
    assert loaded(image_of((5, b"a", b"x"))).takeover is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_slices_may_be_cut_anywhere(size):
    assert loaded(bytes_of(SMALL), size).digest() == SMALL.digest()


def test_an_image_is_what_the_store_was_when_it_was_taken():
    store = store_of(encode_put(b"a", b"1"))
    image = store.image()
    before = bytes_of(store)
    store.apply(9, encode_put(b"a", b"2"))
    store.apply(10, encode_put(b"b", b"3"))
    assert b"".join(image.slices()) == before


def test_pitfall_4_4_slices_are_bounded_and_the_size_is_known_before():
    store = store_of(*[encode_put(f"k{number}".encode(), b"x" * size)
                       for number, size in enumerate([0, 5, SLICE_BYTES, VALUE_LIMIT, 70_000, 1])])
    image = store.image()
    slices = list(image.slices())
    assert max(map(len, slices)) == SLICE_BYTES and sum(map(len, slices)) == image.size
    assert loaded(b"".join(slices)).digest() == store.digest()


def test_an_image_cut_at_any_length_is_refused():
    data = bytes_of(SMALL)
    for length in range(len(data)):
        with pytest.raises(Malformed):
            loaded(data[:length])


def record(body):
    return len(body).to_bytes(4, "big") + body


def image_of(*items, applied=9, count=None, form=1):
    count = len(items) if count is None else count
    head = bytes([form]) + applied.to_bytes(8, "big") + count.to_bytes(8, "big")
    keys = [record(revision.to_bytes(8, "big") + len(key).to_bytes(2, "big") + key + value)
            for revision, key, value in items]
    return record(head) + b"".join(keys)


@pytest.mark.parametrize("data, why", [
    (image_of(form=3), "format 3"),
    (record(b"\x01" + bytes(15)), "header of 16"),
    (record(b""), "header of 0"),
    (image_of((10, b"a", b"")), "revision 10"),
    (image_of((0, b"a", b"")), "revision 0"),
    (image_of((5, b"a", b""), (5, b"b", b"")), "revision 5 behind 5"),
    (image_of((5, b"a", b""), (6, b"a", b"")), "bad key"),
    (image_of((5, b"", b"x")), "bad key of 0"),
    (image_of((5, b"k" * 1025, b"")), "bad key of 1025"),
    (image_of((5, b"\xff", b"")), "bad key of 1"),
    (image_of((5, b"a", b"x" * (VALUE_LIMIT + 1))), "value of 262145"),
    (image_of((5, b"a", b""), count=2), "1 of 2 keys"),
    (image_of((5, b"a", b""), count=0), "1 of 0 keys"),
    (image_of() + b"\0", "1 bytes"),
    (image_of() + b"\xff\xff\xff\xff", "record of 4294967295"),
    (image_of() + record(bytes(9)), "record of 9"),
    (b"", "0 of 0 keys"),
])
def test_what_no_writer_of_ours_produces_is_refused(data, why):
    with pytest.raises(Malformed, match=why):
        loaded(data)
