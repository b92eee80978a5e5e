"""Sends the records of dead letters again: which ones, where to, and each once.

    letter ──► done before? ──► filters ──► attempts ──► where to ──► batch ──► one transaction: records and progress

A letter that is done is noted by its offset, not by a position that runs over all: what a filter leaves stays to be
done by a later command, whatever that one's filters are (engine/kafka/progress.py).

Used by: engine.commands.dlq.
Not here: Kafka (engine.kafka.resender, engine.kafka.topic_reader), how it is told (dead_letters_report.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from msgspec import Struct

from engine.api.errors import ConnectError, DataError
from engine.commands.dead_letters import ATTEMPT, Filters, Letter, Span, letter_of
from engine.kafka.progress import METADATA_CHARACTERS_MAX, Progress
from engine.kafka.resender import Going, Noted, TopicRefusedError
from engine.kafka.sample import RawRecord

__all__ = ["Left", "Reading", "Reason", "Redrive", "Sending", "Wanted", "begin_at"]

#: Of letters that are left, and in a dry run of those that would be sent, so many are listed.
LISTED_MAX = 1000
#: In one transaction, unless one letter alone has more.
BATCH_BYTES_MAX = 4 * 1024 * 1024


class Reading(Protocol):
    """What is needed of a reader (`engine.kafka.topic_reader.TopicReader`)."""

    def records(self, partition: int, start: int) -> Iterator[RawRecord]: ...


class Sending(Protocol):
    """What is needed of a sender (`engine.kafka.resender.Resender`, `engine.commands.into.Into`)."""

    def send(self, batch: Sequence[Going], partition: int, noted: Noted) -> Mapping[int, str]:
        """Send these and note what is done; returns why which of them are refused.

        Raises DataError where one is, nobody knows which, and nothing of the batch is sent; TopicRefusedError where
        nothing of a topic is taken, and nothing of the batch is sent; ConnectError.
        """


class Reason(StrEnum):
    """Why a letter is left."""

    FILTER = "filter"  # it is not meant
    DONE = "done"  # sent again by an earlier command
    ATTEMPTS = "attempts"  # sent again too often
    LACKS = "lacks"  # its bytes are not the record's
    NOWHERE = "nowhere"  # nobody knows where to, or that topic is not there
    REFUSED = "refused"  # Kafka does not take it, or the sink


#: What is meant and not done: a person must look at it.
GRAVE = (Reason.ATTEMPTS, Reason.LACKS, Reason.NOWHERE, Reason.REFUSED)


class Wanted(Struct, frozen=True):
    """What is to be sent again."""

    filters: Filters = Filters()
    to: str = ""  # a topic; empty: where each comes from
    into: str = ""  # a sink's connector; empty: to a topic
    attempts_max: int = 3
    limit: int | None = None
    at_once: int = 500  # in one transaction; 0: what suits where they go


class Left(NamedTuple):
    """A letter that is meant and left."""

    letter: Letter
    reason: Reason
    why: str


def begin_at(
    progress: Mapping[int, Progress], places: Collection[tuple[int, Span]], borders: Mapping[int, tuple[int, int]]
) -> None:
    """Let a new group begin at the places without an end, not far before: what lies there is another group's.

    progress: of partitions of which nothing is noted. borders: where each begins and ends.
    """
    for partition, span in places:
        if partition in progress and span.last is None:
            progress[partition].mark(0, min(span.first, borders[partition][1]))


class _Chosen(NamedTuple):
    """A letter on its way."""

    letter: Letter
    since: int  # no letter lies between this offset and its own
    record: RawRecord  # as it is sent


class Redrive:
    """One command's work; what has become of the letters is in its members."""

    def __init__(
        self,
        wanted: Wanted,
        progress: Mapping[int, Progress],
        counts: Mapping[str, int],
        sender: Sending | None,
    ) -> None:
        """progress: of every partition. counts: partitions of the topics there are. sender: None: a dry run."""
        self._wanted = wanted
        self._progress = dict(progress)
        self._counts = counts
        self._sender = sender
        self._closed: dict[str, str] = {}  # topics of which nothing is taken, and why
        self.sent = 0  # in a dry run, what would be
        self.destinations: list[tuple[Letter, str]] = []  # the first of them
        self.counts: Counter[Reason] = Counter()
        self.left: list[Left] = []  # the first of those that are meant
        self.dropped = 0  # of what was sent: a sink's transforms have left nothing of it
        self.is_cut = False  # by the limit: the rest was not looked at
        self.anew: Sequence[int] = ()  # partitions with letters of which nothing is noted
        self.error = ""  # what has ended it before its end

    @property
    def is_whole(self) -> bool:
        """Whether all that is meant is done."""
        return not any(self.counts[reason] for reason in GRAVE)

    @property
    def is_into(self) -> bool:
        """Whether they go into a sink."""
        return bool(self._wanted.into)

    def run(self, reader: Reading) -> None:
        """Go through all partitions, in order. Raises ConnectError; what was acknowledged before is noted."""
        for partition in sorted(self._progress):
            if self.is_cut:
                return
            self._run_partition(reader, partition)

    def _run_partition(self, reader: Reading, partition: int) -> None:
        since = self._progress[partition].position
        batch: list[_Chosen] = []
        size = 0
        for record in reader.records(partition, since):
            if self._wanted.limit is not None and self.sent + len(batch) >= self._wanted.limit:
                self.is_cut = True
                break
            letter = letter_of(record)
            chosen = self._chosen(letter, since)
            since = record.offset + 1
            if chosen is None:
                continue
            more = _size(record)
            if batch and (len(batch) >= self._wanted.at_once or size + more > BATCH_BYTES_MAX):
                self._send(partition, batch)
                batch, size = [], 0
            batch.append(chosen)
            size += more
        if batch:
            self._send(partition, batch)

    def _chosen(self, letter: Letter, since: int) -> _Chosen | None:
        """None: it is left, which is counted."""
        record = letter.record
        if record.offset in self._progress[record.partition]:
            self.counts[Reason.DONE] += 1
            return None
        if not self._wanted.filters.take(letter):
            self.counts[Reason.FILTER] += 1
            return None
        if letter.lack and (letter.is_cut or not self._wanted.to):
            self._leave(letter, Reason.LACKS, letter.lack + ("" if letter.is_cut else "; --to TOPIC sends it so"))
            return None
        if letter.attempt >= self._wanted.attempts_max:
            why = f"sent again {letter.attempt} times before (--attempts-max {self._wanted.attempts_max})"
            self._leave(letter, Reason.ATTEMPTS, why)
            return None
        sent = self._for_sink(letter) if self._wanted.into else self._for_topic(letter)
        if sent is None:
            return None
        # A sink may write what it has into a topic: there the count goes on.
        headers = (*letter.own_headers, (ATTEMPT, b"%d" % (letter.attempt + 1)))
        return _Chosen(letter, since, sent._replace(headers=headers))

    def _for_topic(self, letter: Letter) -> RawRecord | None:
        """The record as it is sent to a topic; None: it is left."""
        topic = self._wanted.to or letter.topic
        count = self._counts.get(topic)
        if count is None:
            missing = f"there is no topic {topic} that this user may see" if topic else "it does not say where it was"
            self._leave(letter, Reason.NOWHERE, f"{missing}; --to TOPIC says where to")
            return None
        if topic in self._closed:
            self._leave(letter, Reason.REFUSED, self._closed[topic])
            return None
        # Elsewhere a partition of that number is another one: the key decides, as for any other producer.
        is_there = not self._wanted.to and letter.partition is not None and letter.partition < count
        partition = letter.partition if is_there and letter.partition is not None else -1
        return letter.record._replace(topic=topic, partition=partition, offset=-1)

    def _for_sink(self, letter: Letter) -> RawRecord | None:
        """The record as it was; None: it is left."""
        if not letter.topic:
            self._leave(letter, Reason.NOWHERE, "it does not say which topic it was in; --to TOPIC sends it to one")
            return None
        return letter.original

    def _leave(self, letter: Letter, reason: Reason, why: str) -> None:
        self.counts[reason] += 1
        if len(self.left) < LISTED_MAX:
            self.left.append(Left(letter, reason, why))

    def _require_room(self, partition: int, progress: Progress, count: int) -> None:
        """Raises ConnectError where a broker would not take the note. count: of letters, any of which may be refused.

        What is refused makes the note longer, by less than a character for each letter.
        """
        if len(progress.as_offset()[1]) + count <= METADATA_CHARACTERS_MAX:
            return
        end = self._progress[partition].end
        raise ConnectError(
            f"what is done of partition {partition} and what filters have left alternate too often for one note; all "
            f"that was sent lies before {end}: go on behind it with --group NAME --place {partition}@{end}-, or "
            "first send what was left"
        )

    def _send_by_topic(self, partition: int, batch: Sequence[_Chosen], why: str) -> None:
        """One of their topics takes nothing: it is found by sending to each alone, and left from here on."""
        topics = dict.fromkeys(one.record.topic for one in batch)
        if len(topics) > 1:
            for topic in topics:
                self._send(partition, [one for one in batch if one.record.topic == topic])
            return
        self._closed[batch[0].record.topic] = why
        for one in batch:
            self._leave(one.letter, Reason.REFUSED, why)

    def _send(self, partition: int, batch: Sequence[_Chosen]) -> None:
        """Send all of these that are taken; one that is refused costs itself alone, found by halving if need be."""

        def noted(refused: Collection[int]) -> Progress:
            progress = self._progress[partition].copy()
            for at, one in enumerate(batch):
                if at not in refused:
                    progress.mark(one.since, one.letter.record.offset + 1)
            return progress

        self._require_room(partition, noted(()), len(batch))
        refused: Mapping[int, str] = {}
        if self._sender is not None:
            going = [Going(one.letter.record, one.record) for one in batch]
            try:
                refused = self._sender.send(going, partition, noted)
            except TopicRefusedError as error:
                self._send_by_topic(partition, batch, str(error))
                return
            except DataError as error:
                if len(batch) > 1:
                    middle = len(batch) // 2
                    self._send(partition, batch[:middle])
                    self._send(partition, batch[middle:])
                    return
                refused = {0: str(error)}
        for at, why in refused.items():
            self._leave(batch[at].letter, Reason.REFUSED, why)
        self._progress[partition] = noted(refused)
        self.sent += len(batch) - len(refused)
        taken = [one for at, one in enumerate(batch) if at not in refused]
        room = LISTED_MAX - len(self.destinations)
        self.destinations += [(one.letter, self._wanted.into or one.record.topic) for one in taken[:room]]


def _size(record: RawRecord) -> int:
    return len(record.key or b"") + len(record.value or b"") + sum(len(payload or b"") for _, payload in record.headers)
