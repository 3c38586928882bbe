"""The bytes of a segment: what was written is read, nothing else is ever taken for it (P3, design §4.3)."""

from __future__ import annotations

import itertools
import random

import pytest

from raftctl.base.errors import OurFault
from raftctl.disk import records
from raftctl.disk.records import ALIGNMENT, BATCH, END, HEAD_SIZE, SECTOR, TAIL_SIZE, Batch, Segment
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import COMMAND, CONFIGURATION, NOOP, ORIGIN, Entry, HardState, Position

CHAIN = 0x1234ABCD


def entry(index, size=10, kind=COMMAND):
    return Entry(3, index, kind, bytes([index % 251 + 1]) * size)


def encoded(batch, offset=SECTOR, chain=CHAIN):
    """Return the record of `batch` as it stands in the file, and the chain for the next."""
    buffers, size, after = records.encode_record(records.encode_items(batch), offset, chain)
    record = b"".join(buffers)
    assert len(record) == size
    return record, after


def encoded_body(body, offset=SECTOR, chain=CHAIN):
    return b"".join(records.encode_record([body], offset, chain)[0])


def decoded(record, chain=CHAIN):
    """Return (batch, next chain) of the record that begins `record`, None where it is not intact."""
    head = records.decode_head(record[:HEAD_SIZE], chain)
    if head is None or head.size > len(record):
        return None
    found = records.decode_record(record[:head.size], chain)
    return found and (records.decode_items(found[0]), found[1])


BATCHES = (
    Batch(HardState(), ()),
    Batch(HardState(7, "n1", 500_000_000), ()),
    Batch(None, (entry(1, 0, NOOP),)),
    Batch(None, (entry(1, 300), entry(2, 0), entry(3, 1, CONFIGURATION))),
    Batch(HardState(2**64 - 1, "n" * 64, 2**64 - 1), (entry(2**64 - 1, 2000),)),
    Batch(None, (Entry(1, 1, COMMAND, bytes(3000)),)),
    Batch(HardState(7), (entry(1, 0, NOOP),), b"memory"),
    Batch(None, (), b"memory"),
    Batch(None, (), None, Position(9, 2**64 - 1)),
    Batch(HardState(8), (entry(7),), b"memory", Position(9, 6)),
)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("offset", [512, 528, 1008])
def test_a_record_reads_as_what_was_written_and_leads_to_the_next(batch, offset):
    record, after = encoded(batch, offset)
    assert decoded(record) == (batch, after)
    following, last = encoded(BATCHES[1], offset + len(record), after)
    assert decoded(following, after) == (BATCHES[1], last)


@pytest.mark.parametrize("batch", BATCHES[:4])
def test_5_2_every_flipped_bit_of_a_record_is_seen(batch):
    record, _ = encoded(batch)
    for position, bit in itertools.product(range(len(record)), range(8)):
        broken = bytearray(record)
        broken[position] ^= 1 << bit
        assert decoded(bytes(broken)) is None, (position, bit)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_record_cut_at_any_length_is_none(batch):
    record, _ = encoded(batch)
    for length in range(len(record)):
        assert decoded(record[:length]) is None, length


def test_5_3_a_record_fits_behind_no_other_than_the_one_it_was_written_behind():
    first, after_first = encoded(BATCHES[1])
    other, after_other = encoded(BATCHES[2])
    second, _ = encoded(BATCHES[3], SECTOR + len(first), after_first)
    assert decoded(second, after_first) is not None
    for chain in (after_other, CHAIN, 0):
        assert decoded(second, chain) is None
        # Not even its head: a search for records behind a zeroed sector goes by heads alone.
        assert records.decode_head(second, chain) is None
    assert records.chain_before(first + second, len(first)) == after_first


@pytest.mark.parametrize("at", [0, 4, TAIL_SIZE - 1, TAIL_SIZE, 100])
def test_no_chain_is_read_where_no_record_ends(at):
    assert records.chain_before(b"\x01" * 200, at) is None


def test_every_body_length_keeps_the_alignment_and_whole_heads_and_tails_within_a_sector():
    for length, offset in itertools.product(range(1, 1200), (512, 1008)):
        record = encoded_body(b"\x00" * length, offset)
        assert len(record) % ALIGNMENT == 0
        assert len(record) - ALIGNMENT < HEAD_SIZE + length + TAIL_SIZE <= len(record)
        tail = offset + len(record) - TAIL_SIZE
        for place, size in ((offset, HEAD_SIZE), (tail, TAIL_SIZE)):
            assert place // SECTOR == (place + size - 1) // SECTOR
        assert record[:4] == BATCH and record[-4:] == END     # so neither is ever all zeros


@pytest.mark.parametrize("offset", [1, 8, 15, 513, 520])
def test_a_record_off_its_alignment_is_our_fault(offset):
    with pytest.raises(OurFault, match="alignment"):
        records.encode_record([b"x"], offset, CHAIN)


def test_a_body_of_nothing_or_over_the_limit_is_our_fault(monkeypatch):
    with pytest.raises(OurFault, match="body"):
        records.encode_record([], SECTOR, CHAIN)
    monkeypatch.setattr(records, "BATCH_LIMIT", 64)
    assert decoded(encoded(Batch(None, (entry(1, 42),)))[0])    # 5 + 17 + 42: the limit itself
    with pytest.raises(OurFault, match="body"):
        encoded(Batch(None, (entry(1, 43),)))


@pytest.mark.parametrize("length", [0, 65, 2**32 - 1])
def test_5_3_a_length_out_of_bounds_is_no_head_though_its_checksum_fits(monkeypatch, length):
    monkeypatch.setattr(records, "BATCH_LIMIT", 64)
    fields = records._HEAD.pack(BATCH, length, 0)
    crc = records._WORD.pack(records.zlib.crc32(fields, CHAIN))
    assert records.decode_head(fields + crc, CHAIN) is None


def test_a_head_of_another_kind_is_none_though_its_checksum_fits():
    fields = records._HEAD.pack(b"bTch", 16, 0)
    crc = records._WORD.pack(records.zlib.crc32(fields, CHAIN))
    assert records.decode_head(fields + crc, CHAIN) is None


# --- items


@pytest.mark.parametrize("batch", BATCHES)
def test_items_cut_at_any_length_are_malformed_or_whole_items_less(batch):
    body = b"".join(records.encode_items(batch))
    for length in range(len(body)):
        try:
            found = records.decode_items(body[:length])
        except Malformed:
            continue
        assert found.hard_state in (None, batch.hard_state)
        assert found.entries == batch.entries[:len(found.entries)]
        assert len(b"".join(records.encode_items(found))) == length


@pytest.mark.parametrize("body, complaint", [
    (b"\x02\x00\x00\x00", "item cut short at byte 0"),
    (records._ITEM.pack(2, 2**32 - 1) + b"x", "item of 4294967295 bytes at byte 5 of a record of 6"),
    (records._ITEM.pack(0, 0), "item of kind 0"),
    (records._ITEM.pack(5, 1) + b"x", "item of kind 5"),
    (records._ITEM.pack(4, 1) + b"x", "item of kind 4"),
    (b"".join(records.encode_items(BATCHES[7])) * 2, "item of kind 3"),
    (b"".join(records.encode_items(BATCHES[8])) * 2, "item of kind 4"),
    (b"".join(records.encode_items(BATCHES[2]) + records.encode_items(BATCHES[8])), "item of kind 4"),
    (records._ITEM.pack(2, 3) + b"abc", "entry of 3 bytes"),
    (records._ITEM.pack(2, 17) + bytes(17), "term 0, index 0"),
    (records._ITEM.pack(1, 3) + b"abc", "hard state of 3 bytes"),
    (b"".join(records.encode_items(BATCHES[1])) * 2, "item of kind 1"),
    (b"".join(records.encode_items(BATCHES[2]) + records.encode_items(BATCHES[0])), "item of kind 1"),
])
def test_items_that_no_writer_of_ours_makes_are_malformed(body, complaint):
    with pytest.raises(Malformed, match=complaint):
        records.decode_items(body)


# --- torn or damaged


def sectors_of(record, offset):
    """Return (start, end) within the record of each part that lies in one sector of the file."""
    cuts = [0, *range(SECTOR - offset % SECTOR, len(record), SECTOR), len(record)]
    return list(zip(cuts, cuts[1:]))


def random_body(source, length):
    """Return bytes among which whole sectors of zeros are not rare."""
    parts = [bytes(400) if source.random() < 0.5 else bytes([int(source.random() * 255) + 1]) * 200
             for _ in range(length // 200 + 1)]
    return b"".join(parts)[:length]


@pytest.mark.parametrize("seed", range(20))
def test_a_record_without_any_of_its_sectors_is_torn_and_one_with_a_changed_byte_is_not(seed):
    source = random.Random(seed)
    offset = SECTOR + ALIGNMENT * int(source.random() * 32)
    record = encoded_body(random_body(source, 1 + int(source.random() * 3500)), offset)
    head = records.decode_head(record, CHAIN)
    parts = sectors_of(record, offset)
    later = [part for part in parts[1:] if any(record[part[0]:part[1]])]
    for count in (1, 2, 3):
        for lost in itertools.combinations(later, count):
            torn = bytearray(record)
            for start, end in lost:
                torn[start:end] = bytes(end - start)
            assert records.decode_record(bytes(torn), CHAIN) is None
            assert records.is_torn(bytes(torn), head, offset), lost
    for start, end in parts:
        damaged = bytearray(record)
        at = start + int(source.random() * (end - start))
        damaged[at] ^= 0xFF
        assert records.decode_record(bytes(damaged), CHAIN) is None
        is_zeros = not any(damaged[start:end])     # the one byte of a sector: as good as lost
        assert records.is_torn(bytes(damaged), head, offset) == is_zeros


@pytest.mark.parametrize("seed", range(20))
def test_the_head_counts_the_sectors_that_are_zeros_by_nature(seed):
    source = random.Random(100 + seed)
    offset = SECTOR + ALIGNMENT * int(source.random() * 32)
    record = encoded_body(random_body(source, 1 + int(source.random() * 5000)), offset)
    between = sectors_of(record, offset)[1:-1]
    expected = sum(1 for start, end in between if not any(record[start:end]))
    assert records.decode_head(record, CHAIN).zero_sectors == expected


# --- the header of a segment


@pytest.mark.parametrize("segment", [
    Segment("n", 1, ORIGIN, 0),
    Segment("a" * 64, 2**64 - 1, Position(2**64 - 1, 2**64 - 2), 2**32 - 1),
])
def test_a_header_reads_as_what_was_written_and_its_chain_differs_by_segment(segment):
    header = records.encode_segment(segment)
    found, chain = records.decode_segment(header)
    assert (len(header), found) == (SECTOR, segment)
    for other in (segment._replace(number=7), segment._replace(instance="other"),
                  segment._replace(previous=1), segment._replace(before=Position(3, 3))):
        assert chain != records.decode_segment(records.encode_segment(other))[1]


def test_5_2_every_flipped_bit_and_every_truncation_of_a_header_is_malformed():
    header = records.encode_segment(Segment("n1", 1, ORIGIN, 0))
    for position, bit in itertools.product(range(len(header)), range(8)):
        broken = bytearray(header)
        broken[position] ^= 1 << bit
        with pytest.raises(Malformed, match="header is damaged|is unknown here"):
            records.decode_segment(bytes(broken))
    for length in range(len(header)):
        with pytest.raises(Malformed, match=f"^{length} bytes are no segment"):
            records.decode_segment(header[:length])


def test_an_instance_that_does_not_fit_the_header_is_our_fault():
    for instance in ("", "n" * 65):
        with pytest.raises(OurFault, match="instance"):
            records.encode_segment(Segment(instance, 1, ORIGIN, 0))
