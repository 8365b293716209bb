"""Records that wait to be written, on a storage that takes them, refuses them, and hangs."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest

from serve.observability.record_buffer import Batch, RecordBuffer


class Storage:
    """It takes records as soon as it answers."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []
        self.files: dict[tuple[str, datetime], list[int]] = {}
        self.num_writing, self.fails = 0, False
        self.answers = threading.Event()
        self.answers.set()

    def write(self, batch: Batch[int]) -> None:
        self.num_writing += 1
        self.answers.wait(60)
        self.num_writing -= 1
        self.files[batch.name, batch.begun] = batch.records
        if self.fails:
            raise OSError("full")
        self.taken.append(batch.records)


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage()
    yield storage
    storage.answers.set()


async def begun(storage: Storage) -> None:
    async with asyncio.timeout(30):
        while not storage.num_writing:
            await asyncio.sleep(0.005)


async def test_while_a_write_hangs_no_other_begins_and_what_is_lost_can_be_asked(storage: Storage) -> None:
    buffer = RecordBuffer("decisions", storage.write, 0.0, max_waiting=3)
    storage.answers.clear()
    buffer.add(0)
    writing = [asyncio.create_task(buffer.flush())]
    await begun(storage)
    for number in range(1, 6):
        buffer.add(number)
        writing.append(asyncio.create_task(buffer.flush(at_once=True)))
    await asyncio.sleep(0.05)
    assert storage.num_writing == 1
    assert (buffer.take_lost(), buffer.take_lost()) == (2, 0), "without waiting for the storage"
    storage.answers.set()
    await asyncio.wait_for(asyncio.gather(*writing), 30)
    assert storage.taken == [[0], [1, 2, 3]]


async def test_what_the_storage_refuses_waits_again_as_far_as_there_is_room(storage: Storage) -> None:
    buffer = RecordBuffer("decisions", storage.write, 0.0, max_waiting=2)
    storage.answers.clear()
    storage.fails = True
    for number in range(2):
        buffer.add(number)
    writing = asyncio.create_task(buffer.flush())
    await begun(storage)
    buffer.add(2)
    storage.answers.set()
    await writing
    assert buffer.take_lost() == 1
    storage.fails = False
    await buffer.flush()
    assert storage.taken == [[0, 1]], "the same batch"


async def test_it_is_not_written_before_it_is_due(storage: Storage) -> None:
    buffer = RecordBuffer("decisions", storage.write, 3600.0, max_waiting=2)
    buffer.add(1)
    await buffer.flush()
    assert storage.taken == []
    await buffer.flush(at_once=True)
    assert storage.taken == [[1]]


async def test_what_the_storage_has_and_says_it_has_not_is_written_to_the_same_place(storage: Storage) -> None:
    buffer = RecordBuffer("decisions", storage.write, 0.0, max_waiting=9)
    storage.fails = True
    buffer.add(0)
    await buffer.flush()
    buffer.add(1)
    await buffer.flush()
    storage.fails = False
    buffer.add(2)
    await buffer.flush()
    assert list(storage.files.values()) == [[0], [1, 2]], "each record once"
