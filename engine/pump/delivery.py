"""Handing frames to Kafka in order, and knowing which prefix of them Kafka has.

Three ways to send a frame; the first that is safe for it is taken:

    fast     idempotence and gapless guarantee; a callback for the last record of each partition.
             One success then stands for all before it: a gap is fatal to the producer.
    plain    a callback for each record: where librdkafka draws the partition or the topic has none such, where the
             connector wants to hear of each record, where the user switched idempotence off.
    slow     after any error: a new producer, one request in flight with one record each, a
             callback for each. It finds the record to blame, or finds that there is none
             (a batch too large for the topic is refused whole, though each record is legal).
             With the gapless guarantee nothing behind that record gets into its partition.

Keys have their partitions from librdkafka's own hash, called here (engine/kafka/parting.py).

Invariant: a frame counts as acknowledged when it and all before it are. After an error no
callback of the old producer is believed; everything unacknowledged is sent again. Where records that Kafka
refuses are to be skipped, the one that the slow way has found is left out then; what it has brought there before, too.

Used by: engine.pump.source.
Not here: the ring, offsets. Why the ways are what they are: docs/decisions/delivery.md.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError

from engine.api.errors import ConnectError, RetriableError, UnreachableError
from engine.kafka.errors import as_ours, is_queue_full
from engine.kafka.parting import ANY, Heads, Targets, by_partition, heads_of, messages_of, parting_of, partitions_of
from engine.kafka.producer import Refused
from engine.ledger.source import PumpAccount
from engine.pump.outside import ClientPort
from engine.pump.refusals import Refusals
from engine.pump.sent import Sent
from engine.shm.frame import SourceFrame
from engine.shm.waits import Cause, OutsideError

__all__ = ["Delivery", "ProducerPort"]

logger = logging.getLogger("millrace.pump")

#: Records in librdkafka's queue at most, and as a part of its own limit, which is never run into.
QUEUE_RECORDS_MAX = 90_000
QUEUE_PART = 0.9
#: How long a count of partitions that is known is waited for when it is asked for again.
RECOUNT_SECONDS = 1.0
#: How long a topic's partition count is believed.
PARTITIONS_FRESH_NS = 300 * 10**9

PARTED_MAX = 64  # for more partitions no keys are parted: each takes a call of its own
#: So few bytes on their way make no batch that a topic refuses.
SMALL_BYTES = 1024

SLOW_SETTINGS: Mapping[str, Any] = {"max.in.flight.requests.per.connection": 1, "batch.num.messages": 1}
#: What a client says of records that only stood behind the one to blame.
_BYSTANDERS = {KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001


class ProducerPort(ClientPort, Protocol):
    """What delivery needs of a producer (`engine.kafka.producer.BatchProducer`; a fake in the simulation)."""

    def __len__(self) -> int: ...
    def close(self) -> None: ...
    def poll(self) -> None: ...
    def take_new_numbers(self) -> int: ...
    def send_many(self, topic: str, heads: Heads) -> None: ...
    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]]) -> None: ...
    def send_each(
        self, topic: str, value: Any, key: Any, partition: int, timestamp: Any, headers: Any, on_delivery: Any
    ) -> None: ...
    def partition_count(self, topic: str, timeout_seconds: float) -> int: ...
    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None: ...


class Delivery:
    """Frames in, acknowledged prefix out."""

    def __init__(
        self,
        make_producer: Callable[[Mapping[str, Any]], ProducerPort],
        settings: Mapping[str, Any],
        *,
        wants_each: bool,
        timeout_seconds: float,
        now_ns: Callable[[], int],
        account: PumpAccount | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """account: the ledger's; None: it is switched off.

        refusals: told of a record that Kafka has refused, which is left out then; None: it ends the task.
        """
        self._refusals = refusals
        # By their numbers, records of frames that are sent again, and are not: where Kafka has them; None: nowhere.
        self._settled: dict[int, tuple[int, int] | None] = {}
        self._make_producer = make_producer
        self._settings = dict(settings)
        self._is_idempotent = str(settings.get("enable.idempotence", "true")).lower() == "true"
        if self._is_idempotent:
            self._settings["enable.gapless.guarantee"] = True
        self._parting = parting_of(settings)
        self.wants_each = self.wants_places = wants_each
        self.account = account
        self._timeout_seconds = timeout_seconds
        self._now_ns = now_ns
        self.producer = make_producer(self._settings)  # the present one
        self._in_flight: deque[Sent] = deque()
        self._topics: dict[str, tuple[int, int]] = {}  # partitions, when they were counted
        self._fitted: set[str] = set()  # topics whose largest batch is known to be no smaller than ours
        self._busy: set[str] = set()  # topics that get more than SMALL_BYTES at a time
        self._turn = 0
        self._silent_since_ns = now_ns()  # when something was acknowledged last, or nothing was on its way
        self._slow_left = -1  # frames still to be sent the slow way; -1: not slow
        self._doubtful = 0
        self._queue_bytes = 0
        self._queue_bytes_max = int(settings.get("queue.buffering.max.kbytes", 1_048_576)) * 1024
        queue_records = int(settings.get("queue.buffering.max.messages", 0))  # 0: librdkafka has no limit
        self._records_max = min(QUEUE_RECORDS_MAX, int(QUEUE_PART * queue_records) or QUEUE_RECORDS_MAX)
        self._fatal: KafkaError | None = (
            None  # on the slow way: the producer has stopped, and will tell at which record
        )
        self.error: KafkaError | None = None  # the producer is broken and nothing it says counts
        self.refusal: ConnectError | None = None  # the slow way found the record to blame

    def __len__(self) -> int:
        """Records handed over that are not answered yet."""
        return len(self.producer)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._in_flight

    def close(self) -> None:
        """Drop what is queued."""
        self.producer.close()

    def has_room(self, frame: SourceFrame) -> bool:
        """Whether a frame can be sent now without running into a limit of the client."""
        if self._in_flight and self._slow_left >= 0:
            return False  # one at a time: the next may meet the error of the last
        if not self._in_flight:
            return True
        if frame.count and not self._fits(frame):
            self._busy.add(frame.topic)
            return False  # it may need a producer with smaller batches
        return (
            len(self.producer) + frame.count <= self._records_max
            and self._queue_bytes + frame.size_bytes <= self._queue_bytes_max // 2
        )

    def learn(self, frame: SourceFrame) -> None:
        """Find out what must be known of a frame's topic to send it. Raises ConnectError when that cannot be."""
        if frame.count:
            self._partitions(frame.topic)
            if not self._fits(frame):
                self._fit_batches(frame.topic)

    def send(self, frame: SourceFrame) -> None:
        """Hand a frame over. Raises ConnectError when its topic cannot be found; then it is as if never sent."""
        self.learn(frame)
        partitions = self._topics[frame.topic][0] if frame.count else 0
        sent = Sent(frame, self)
        self._in_flight.append(sent)
        self._queue_bytes += frame.size_bytes
        if not frame.count:
            return
        targets = self._targets(frame, partitions)
        try:
            if self._slow_left >= 0 or self._is_settled_in_part(frame):
                self._send_singly(sent, partitions, targets, with_callback_each=True)
            elif frame.headers is not None or frame.timestamps is not None:
                has_callback_each = not self._is_fast(frame, frame.partitions, partitions)
                self._send_singly(sent, partitions, targets, with_callback_each=has_callback_each)
            elif self._is_fast(frame, targets, partitions):
                self._send_fast(sent, partitions, targets)
            else:
                self._send_plain(sent, partitions, targets)
        except Refused as refused:
            self.fail(sent, None, refused.error)

    def poll(self) -> None:
        """Hear what Kafka answered."""
        try:
            self.producer.poll()
        except Refused as refused:
            self.fail(None, None, refused.error)
        self._doubt()
        if self._refusals is not None and self._refusals.letters and self.error is None:
            self._send_letters(self._refusals)
        if not self._in_flight:
            self._silent_since_ns = self._now_ns()
        if self._fatal is not None and self.refusal is None and self.error is None and not len(self.producer):
            text = f"the producer stopped without a word on any record: {self._fatal.str()}"
            self.refusal = OutsideError(text, Cause.ACKNOWLEDGEMENTS)

    def _doubt(self) -> None:
        # No answer has come yet under the new numbers: whatever may be there once more is still listed.
        times = self.producer.take_new_numbers()
        if times:
            self._doubtful += times * sum(sent.frame.count for sent in self._in_flight)

    def take_doubtful(self) -> int:
        """Records that Kafka may have twice, without any being sent again from here; since the last call."""
        doubtful, self._doubtful = self._doubtful, 0
        return doubtful

    def acknowledged(self) -> Sent | None:
        """The oldest frame, if Kafka has all of it; taken off the list."""
        if self.error is not None or not self._in_flight or self._in_flight[0].pending > 0:
            return None
        sent = self._in_flight.popleft()
        if self.account is not None:
            self.account.answered(sent.frame, sent.pending, sent.answered)
        self._silent_since_ns = self._now_ns()
        for number in range(sent.frame.sequence, sent.frame.sequence + sent.frame.count) if self._settled else ():
            self._settled.pop(number, None)
        self._queue_bytes -= sent.frame.size_bytes
        if self._slow_left > 0:
            self._slow_left -= 1
        if self._slow_left == 0 and not self._in_flight:
            logger.info("all that failed together was delivered one by one; going on at full speed")
            self._renew(self._settings)
            self._slow_left = -1
            self.wants_places = self.wants_each
        return sent

    def fail(self, sent: Sent | None, index: int | None, error: KafkaError | None) -> None:
        """Note the first error; what is decided, is decided by `mend`."""
        is_known = self.error is not None or self.refusal is not None
        if is_known or (sent is not None and sent not in self._in_flight):
            return  # in the second case, the last word of a producer that was given up
        if error is None:
            error = KafkaError(KafkaError._QUEUE_FULL)
        if self._slow_left < 0:
            self.error = error
        elif sent is None or error.code() in _BYSTANDERS:
            self._fatal = self._fatal or error
        else:
            refusal = as_ours(error, f"produce {self._described(sent.frame, index)}")
            if self._is_skipped(sent, index, refusal):
                self.error = error  # this producer goes no further
            else:
                self.refusal = refusal

    def _is_skipped(self, sent: Sent, index: int | None, refusal: ConnectError) -> bool:
        """Whether it is left out from now on, or its letter goes once more; not what may pass."""
        may_pass = isinstance(refusal, RetriableError | UnreachableError)
        if self._refusals is None or index is None or may_pass:
            return False
        number = sent.frame.sequence + index
        if self._is_letter(sent.frame, index):
            if not self._refusals.may_reduce(sent.frame, index):
                self._refusals.letter_failed()
                return False
        else:
            self._refusals.note(sent.frame, index, refusal)
        self._settled[number] = None
        return True

    def _is_letter(self, frame: SourceFrame, index: int) -> bool:
        """Whether it is a dead letter that was sent there: what is settled is not sent again itself."""
        return frame.is_letter or frame.sequence + index in self._settled

    def settle(self, number: int, place: tuple[int, int]) -> None:
        """Kafka has this record, should its frame be sent again without another one."""
        if self._refusals is not None and self._slow_left >= 0:
            self._settled[number] = place

    def mend(self) -> int:
        """After an error or a refusal: make a new producer; all frames in flight are to be sent again.

        After an error the slow way, to find its record; what the world outside refused is no record's fault.
        Returns how many they are.
        """
        count = len(self._in_flight)
        self.producer.close()
        self._doubt()
        self._in_flight.clear()
        self._queue_bytes = 0
        self._fitted.clear()
        self._topics.clear()  # one that was made anew may have fewer partitions
        if self.refusal is not None:
            self._slow_left = -1
            self._renew(self._settings)
        else:
            assert self.error is not None
            level = logging.DEBUG if self._settled else logging.WARNING  # a record that is skipped is told of elsewhere
            logger.log(level, "kafka: %s; sending the last %d batches again, one by one", self.error.str(), count)
            self._slow_left = count
            self.wants_places = self.wants_each or self._refusals is not None
            self._renew({**self._settings, **SLOW_SETTINGS})
        self.error = self.refusal = self._fatal = None
        return count

    def topics(self) -> set[str]:
        """Those of what is on its way."""
        letters = set() if self._refusals is None else self._refusals.topics()
        return letters | {sent.frame.topic for sent in self._in_flight if sent.frame.count}

    def silent_seconds(self) -> float:
        """How long nothing was acknowledged while something was on its way: a broker that hangs is no error."""
        return (self._now_ns() - self._silent_since_ns) / 1e9

    def _renew(self, settings: Mapping[str, Any]) -> None:
        self.producer.close()
        self.producer = self._make_producer(settings)

    def _is_settled_in_part(self, frame: SourceFrame) -> bool:
        return any(frame.sequence <= number < frame.sequence + frame.count for number in self._settled)

    def _is_fast(self, frame: SourceFrame, targets: Targets, partitions: int) -> bool:
        if not self._is_idempotent or self.wants_each:
            return False
        return frame.keys is None if targets is None else all(map(range(partitions).__contains__, targets))

    def _targets(self, frame: SourceFrame, partitions: int) -> Targets:
        """The partition of each record, by the connector or by its key; None among them: the client draws it.

        Keys are parted here whatever way a frame goes: were some parted by the client, which hears of new partitions
        at another time, a key would go to and fro. None: one has all that has no keys, and keys are the client's.
        """
        if frame.partitions is not None or frame.keys is None:
            return frame.partitions
        if self._parting is None or partitions > PARTED_MAX:
            return None
        return partitions_of(frame.keys, self._parting, partitions)

    def _partitions(self, topic: str) -> int:
        known = self._topics.get(topic)
        if known is not None and self._now_ns() - known[1] < PARTITIONS_FRESH_NS:
            return known[0]
        try:
            wait_seconds = self._timeout_seconds if known is None else RECOUNT_SECONDS
            count = self.producer.partition_count(topic, wait_seconds)
        except (RetriableError, UnreachableError):
            if known is None:
                raise
            count = known[0]  # it cannot have become less
        self._topics[topic] = (count, self._now_ns())
        return count

    def _fits(self, frame: SourceFrame) -> bool:
        """Whether a topic takes the batches that would be on their way, as far as is known."""
        is_small = frame.topic not in self._busy and self._queue_bytes + frame.size_bytes <= SMALL_BYTES
        return is_small or frame.topic in self._fitted

    def _fit_batches(self, topic: str) -> None:
        """Keep batches below what the topic takes: librdkafka does not split one that is refused.

        Nothing else is on its way then. It takes another client, which hundreds of tasks are spared that have a small
        record now and then. The smallest of all topics counts, as a producer has one size for all.
        """
        limit = self.producer.largest_batch_bytes(topic, self._timeout_seconds)
        self._fitted.add(topic)
        if limit is not None and limit < int(self._settings.get("batch.size", 1_000_000)):
            self._settings["batch.size"] = limit
            if self._slow_left < 0:
                self._renew(self._settings)

    def _sticky(self, partitions: int) -> int:
        """The partition of all of a frame without keys; the next in turn."""
        self._turn += 1
        return self._turn % partitions

    def _send_fast(self, sent: Sent, partitions: int, targets: Targets) -> None:
        frame = sent.frame
        heads = heads_of(frame.values, frame.keys, self._sticky(partitions) if targets is None else targets)
        sent.pending = len(heads.lasts)
        self._count(sent, heads.total)
        if heads.values:
            self.producer.send_many(frame.topic, heads)
        # To the ledger, keys that were parted here are as if the client had parted them.
        is_placed = frame.keys is None or frame.partitions is not None
        counts = heads.counts() if is_placed else {}
        for partition, last in heads.lasts.items():
            last["callback"] = partial(sent.group_arrived, counts[partition]) if is_placed else sent.arrived
            self.producer.send_batch(frame.topic, partition, [last])

    def _send_plain(self, sent: Sent, partitions: int, targets: Targets) -> None:
        frame = sent.frame
        if frame.partitions is not None:
            self._send_singly(sent, partitions, targets, with_callback_each=True)
            return
        messages = messages_of(frame.values, frame.keys)
        sent.pending = len(messages)
        self._count(sent, len(messages))
        if self.wants_each:
            sent.answered = 0
        for index, message in enumerate(messages):
            message["callback"] = partial(sent.record_arrived, index) if self.wants_each else sent.arrived
        first = self._sticky(partitions) if frame.keys is None else ANY
        groups = {first: messages} if targets is None else by_partition(messages, targets)
        for partition, group in groups.items():
            self.producer.send_batch(frame.topic, partition, group)

    def _count(self, sent: Sent, records: int) -> None:
        if self.account is not None:
            self.account.produced(sent.frame, records)

    def _send_singly(self, sent: Sent, partitions: int, targets: Targets, *, with_callback_each: bool) -> None:
        """One call a record, in order: the only way that takes headers and timestamps."""
        frame = sent.frame
        count = frame.count
        sticky = self._sticky(partitions) if frame.keys is None else ANY
        nothing = [None] * count
        keys = frame.keys or nothing
        targets = targets or [sticky] * count
        timestamps = frame.timestamps or nothing
        headers = frame.headers or nothing
        last = {} if with_callback_each else {partition: index for index, partition in enumerate(targets)}
        counts = {} if with_callback_each else Counter(targets)
        sent.pending = count if with_callback_each else len(last)
        sent.answered = 0 if with_callback_each else -1
        self._count(sent, len(frame.values))
        for index in range(count):
            if self._settled and frame.sequence + index in self._settled:
                self._settle_again(sent, index)
                continue
            partition = targets[index]
            if with_callback_each:
                on_delivery: Any = partial(sent.record_arrived, index)
            else:
                is_last = last[partition] == index
                on_delivery = partial(sent.group_arrived, counts[partition]) if is_last else None
            try:
                self.producer.send_each(
                    frame.topic,
                    frame.values[index],
                    keys[index],
                    sticky if partition is None else partition,
                    timestamps[index],
                    headers[index],
                    on_delivery,
                )
            except Refused as refused:
                if not self._is_left_out(sent, index, refused.error):
                    self.fail(sent, index, refused.error)
                    return
                self._settle_again(sent, index)

    def _settle_again(self, sent: Sent, index: int) -> None:
        """Nothing is to be done for a record any more, but for its dead letter, if it has one that is not in Kafka."""
        number = sent.frame.sequence + index
        if self._refusals is not None and number in self._refusals.letters:
            sent.letters.append(index)
        else:
            sent.settle(index, self._settled[number])

    def _send_letters(self, refusals: Refusals) -> None:
        """Send the letters of frames of which all else is answered: each once, however many records are refused."""
        for sent in [one for one in self._in_flight if one.letters and one.pending == len(one.letters)]:
            letters, sent.letters = sent.letters, []
            for at, index in enumerate(letters):
                if self.error is not None or self.refusal is not None:
                    return
                topic, value, key, timestamp, headers, _ = refusals.letters[sent.frame.sequence + index]
                answer = partial(self._letter_arrived, refusals, sent, index)
                refusals.letter_sent()
                try:
                    self.producer.send_each(topic, value, key, -1, timestamp, headers or None, answer)
                except Refused as refused:
                    if is_queue_full(refused.error):
                        sent.letters = letters[at:]  # once these are answered
                        return
                    self.fail(sent, index, refused.error)

    def _letter_arrived(self, refusals: Refusals, sent: Sent, index: int, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self.fail(sent, index, error)
        elif sent in self._in_flight:
            refusals.has_arrived(sent.frame.sequence + index)
            sent.settle(index, None)

    def _is_left_out(self, sent: Sent, index: int, error: KafkaError | None) -> bool:
        """Whether the client itself does not take a record that is to be skipped: then it has left no gap."""
        if error is None or is_queue_full(error) or self._slow_left < 0 or error.code() in _BYSTANDERS:
            return False
        return self._is_skipped(sent, index, as_ours(error, f"produce {self._described(sent.frame, index)}"))

    def _described(self, frame: SourceFrame, index: int | None) -> str:
        is_letter = index is not None and self._is_letter(frame, index)
        return f"{'the dead letter of ' * is_letter}{_place_of(frame, index)}"


def _place_of(frame: SourceFrame, index: int | None) -> str:
    """A record of a frame, for whoever has to find it."""
    place = "a record"
    if index is not None:
        value, key = frame.values[index] or b"", (frame.keys and frame.keys[index]) or b""
        place = f"record {index + 1} of {frame.count} in its batch ({len(key) + len(value)} bytes)"
    offsets = f", before source offset {frame.offsets[-1].offset.decode()}" if frame.offsets else ""
    return f"{place} to topic {frame.topic}{offsets}"
