"""A member of a sink's consumer group: batches of columns out, rebalances as calls.

Used by: engine.pump.sink, engine.kafka.embedded.
Not here: columns (fetched.py), frames, positions, what happens at a revocation.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # exported unsaid

from engine.api.errors import ConnectError
from engine.kafka.access import CredentialFiles, client_settings, is_allowed
from engine.kafka.client_log import ClientLog
from engine.kafka.errors import DENIED, PASSING, as_ours
from engine.kafka.fetched import TORN, Fetched, columns_of
from engine.kafka.questions import border, list_topics, offsets_in, patiently
from engine.kafka.topics import TopicIds, topic_ids
from engine.shm.waits import FinalError, Trouble

__all__ = ["Found", "GroupConsumer", "Member", "Start"]

logger = logging.getLogger("millrace.kafka")

Place = tuple[str, int]  # topic, partition

#: What a member relies on, whatever the user sets: offsets move by `commit` alone, and an offset that is gone is an
#: error instead of a jump.
NEEDED: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
}


#: What is asked to find lost records has an answer within this time, or none.
ASK_SECONDS = 5.0
MAX_OFFSET = 2**63 - 1


class Start(NamedTuple):
    """Where an assigned partition begins."""

    offset: int
    is_committed: bool  # by the group; else it is the partition's first start


class Found(NamedTuple):
    """What Kafka has of a partition."""

    committed: int | None  # by the group, or where it is to go on now; None: nothing
    fresh: int  # where a first start begins
    first: int  # of the records that are there
    end: int  # of the log, whatever the isolation level
    topic_id: str  # empty: the broker has none


class Member(Protocol):
    """Who hears of rebalances; called from within `fetch`, `leave` and `close`."""

    def starts(self, found: Mapping[Place, Found]) -> Mapping[Place, Start]:
        """Where partitions that come begin. Raises ConnectError to refuse them: `fetch` raises it then."""

    def assigned(self, starts: Mapping[Place, Start]) -> None:
        """These come. Raises ConnectError to refuse them: `fetch` raises it then."""

    def revoked(self, places: Sequence[Place]) -> None:
        """These go when the call returns; their offsets can still be committed within it."""

    def lost(self, places: Sequence[Place]) -> None:
        """These are gone already."""

    def committed(self, offsets: Mapping[Place, int], error: ConnectError | None) -> None:
        """The answer to `commit`."""


class GroupConsumer:
    """One librdkafka consumer in a group; make it after the fork."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        member: Member,
        start_at: str,
        timeout_seconds: float,
        *,
        wants_ends: bool = True,
        wants_timestamps: bool = True,
        wants_headers: bool = True,
    ) -> None:
        """wants_ends: be told where partitions end (`take_ends`); at a trickle that is an event for each record."""
        self._settings = {key: value for key, value in settings.items() if key != "group.instance.id"}
        self._member = member
        self._start_at = start_at
        self._timeout_seconds = timeout_seconds
        self._columns = partial(columns_of, wants_timestamps=wants_timestamps, wants_headers=wants_headers)
        self._is_incremental = (
            "cooperative" in str(settings.get("partition.assignment.strategy", ""))
            or settings.get("group.protocol") == "consumer"
        )
        self._log = ClientLog()
        self._files = CredentialFiles(settings)
        own = {"on_commit": self._on_commit, "enable.partition.eof": wants_ends, **self._log.settings()}
        try:
            self._client = Consumer({**settings, **NEEDED, **own})
        except KafkaException as error:
            raise ConnectError(f"the consumer's settings are wrong: {error.args[0].str()}") from error
        self._topics = 0  # of the assigned partitions
        self._paused: set[Place] = set()  # as librdkafka has it, which keeps a pause over rebalances
        self._rebalances = 0
        self._given: set[Place] = set()  # to the member, and not taken back
        self._ends: dict[Place, int] = {}
        self._gone: dict[Place, int] = {}
        self._leader_epochs: dict[Place, int] = {}  # of the last record read; a truncated log is known by it
        self._ids = TopicIds(client_settings(self._settings))
        self._error: ConnectError | None = None

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group for exactly these topics."""
        self._client.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def fetch(self, seconds: float, records_max: int) -> Fetched | None:
        """Records that are there, waiting at most so long for the first; None: none came. Raises ConnectError."""
        first = self._client.poll(seconds)
        if self._error is not None:
            raise self._error
        if first is None:
            return None
        rebalances = self._rebalances
        messages = self._client.consume(records_max - 1, 0) if records_max > 1 else []
        if self._error is not None:
            raise self._error
        if self._rebalances != rebalances:
            # Records of the last assignment may stand before those of this one, even of the same partition.
            self._ends = {}
            return TORN
        messages.insert(0, first)
        if any(map(Message.error, messages)):
            messages = self._without_events(messages)
            if not messages:
                return None
        fetched = self._columns(messages, is_one_topic=self._topics == 1)
        self._note_leader_epochs(fetched, messages)
        return fetched

    def _note_leader_epochs(self, fetched: Fetched, messages: list[Message]) -> None:
        at = 0
        for slice_ in fetched.slices:
            at += slice_.length
            epoch = messages[at - 1].leader_epoch()
            if epoch is not None:
                self._leader_epochs[slice_.topic, slice_.partition] = epoch

    def take_ends(self) -> dict[Place, int]:
        """Ends of partitions that were reached since the last call: an offset that has no record yet."""
        ends, self._ends = self._ends, {}
        return ends

    def take_gone(self) -> dict[Place, int]:
        """Offsets that were to be fetched since the last call and are not there; `place` alone goes on with them."""
        gone, self._gone = self._gone, {}
        return gone

    def take_troubles(self) -> list[Trouble]:
        """What was heard of since the last call and may pass; librdkafka goes on trying."""
        return self._log.take_troubles()

    def is_answering(self, seconds: float) -> bool:
        """Whether any broker answers this client within so long."""
        try:
            list_topics(self._client, seconds)
        except ConnectError:
            return False
        return True

    def is_allowed(self, topics: Collection[str], seconds: float) -> bool:
        """Whether a new client could log in now and read these topics in this group."""
        group = str(self._settings.get("group.id", ""))
        return is_allowed(client_settings(self._settings), AclOperation.READ, topics, group, seconds)

    def shortage(self, topics: Collection[str], seconds: float) -> Trouble | None:
        """None: what a group commits goes to a topic of Kafka's own, of which it tells nothing."""
        return None

    def has_new_files(self) -> bool:
        """Whether certificates or keys have been replaced since this client was made, which has read the old ones."""
        return self._files.have_changed()

    def place(self, places: Collection[Place], offsets: Mapping[Place, int]) -> None:
        """Go on at other offsets; nothing is paused then, and what was fetched is dropped. Raises ConnectError.

        places: those that move; offsets: of every assigned partition.
        """
        for place in places:
            self._leader_epochs.pop(place, None)
        try:
            if self._is_incremental:
                self._client.incremental_unassign([TopicPartition(*place) for place in places])
                self._client.incremental_assign([TopicPartition(*place, offsets[place]) for place in places])
            else:
                self._client.assign(self._listed(offsets))
        except KafkaException as error:
            raise as_ours(error.args[0], "go on at other offsets") from error

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch no more of these; what is fetched already is dropped and fetched again later. Raises ConnectError."""
        wanted = set(places)
        try:
            self._client.pause([TopicPartition(*place) for place in wanted])
        except KafkaException as error:
            raise as_ours(error.args[0], "pause partitions") from error
        self._paused.update(wanted)

    def resume(self, places: Iterable[Place]) -> None:
        """Fetch these again. Raises ConnectError."""
        wanted = set(places)
        try:
            self._client.resume([TopicPartition(*place) for place in wanted])
        except KafkaException as error:
            raise as_ours(error.args[0], "resume partitions") from error
        self._paused.difference_update(wanted)

    def seek(self, place: Place, offset: int) -> bool:
        """Go on at this offset; False: the partition's fetching has not begun yet, ask again. Raises ConnectError."""
        try:
            self._client.seek(TopicPartition(*place, offset))
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):  # noqa: SLF001
                return False
            raise as_ours(error.args[0], f"seek topic {place[0]} partition {place[1]} to {offset}") from error
        return True

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Commit; the answer comes to `Member.committed` within a later `fetch`."""
        try:
            self._client.commit(offsets=self._listed(offsets), asynchronous=True)
        except KafkaException as error:
            self._member.committed(offsets, as_ours(error.args[0], "commit offsets"))

    def commit_now(self, offsets: Mapping[Place, int]) -> None:
        """Commit and wait for the answer. Raises ConnectError."""
        try:
            answers = self._client.commit(offsets=self._listed(offsets), asynchronous=False)
        except KafkaException as error:
            raise as_ours(error.args[0], "commit offsets") from error
        for answer in answers or ():
            if answer.error is not None:
                raise as_ours(answer.error, f"commit topic {answer.topic} partition {answer.partition}")

    def group_offsets(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, int]:
        """What the group has committed of any partitions; only those that have an offset. Raises ConnectError."""
        if not places:
            return {}
        return {place: offset for place, (offset, _) in self._committed(places, timeout_seconds).items()}

    def _committed(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, tuple[int, int | None]]:
        """Offset and leader epoch of those that have one."""
        asked = [TopicPartition(*place) for place in places]
        answers: list[TopicPartition] = []

        def ask(left: float) -> dict[Place, int]:
            answers[:] = self._client.committed(asked, timeout=left)
            return offsets_in(answers)

        patiently(ask, "the group's offsets", timeout_seconds)
        return {(at.topic, at.partition): (at.offset, at.leader_epoch) for at in answers if at.offset >= 0}

    def partitions(self, topics: Sequence[str], timeout_seconds: float) -> list[Place]:
        """Every partition there is of these topics. Raises ConnectError."""
        with self._beside() as client:
            known = list_topics(client, timeout_seconds)
        return [(topic, partition) for topic in topics if topic in known for partition in known[topic].partitions]

    def topic_names(self, timeout_seconds: float) -> list[str]:
        """Every topic of the cluster. Raises ConnectError."""
        with self._beside() as client:
            return list(list_topics(client, timeout_seconds))

    def reads(self, topics: Collection[str]) -> bool:
        """Whether the member has partitions of each of these."""
        return {part.topic for part in self._client.assignment()}.issuperset(topics)

    def learn_topics(self, topics: Collection[str], timeout_seconds: float) -> bool:
        """Have the member itself look for these, unless it has some of each; else it looks now and then only.

        Returns whether it has. Raises ConnectError.
        """
        has_all = self.reads(topics)
        if not has_all:
            self.refresh_topics(timeout_seconds)
        return has_all

    def refresh_topics(self, timeout_seconds: float) -> None:
        """Have the member itself look at all topics; it joins anew if there is more to read. Raises ConnectError."""
        list_topics(self._client, timeout_seconds)

    def borders(
        self, places: Collection[Place], timeout_seconds: float, settings: Mapping[str, str] | None = None
    ) -> dict[Place, tuple[int, int]]:
        """First and end offset of partitions, under the consumer's isolation level or these settings'.

        Raises ConnectError.
        """
        with self._beside(settings) as client:
            firsts = border(client, places, OFFSET_BEGINNING, timeout_seconds)
            ends = border(client, places, OFFSET_END, timeout_seconds)
        return {place: (firsts[place], ends[place]) for place in places}

    def lag(self, positions: Mapping[Place, int]) -> int:
        """Records between positions and the ends as last heard of, without asking."""
        behind = 0
        for place, position in positions.items():
            _, high = self._client.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high > 0 and position >= 0:
                behind += max(0, high - position)
        return behind

    def leave(self, timeout_seconds: float) -> None:
        """Leave the group, so that the partitions go to others at once, and close.

        A static member's `close` alone leaves them idle until its session ends; unsubscribing first sends the
        request to leave (docs/decisions/membership.md).
        """
        deadline = time.monotonic() + timeout_seconds
        try:
            self._client.unsubscribe()
            while self._client.assignment() and time.monotonic() < deadline:
                self._client.poll(0.02)
        except KafkaException as error:
            logger.warning("leaving the group: %s", error)
        self._client.close()

    def close(self) -> None:
        """Close. A static member stays in the group until its session ends or its next life takes its place."""
        self._client.close()

    @contextlib.contextmanager
    def _beside(self, settings: Mapping[str, str] | None = None) -> Iterator[Consumer]:
        """A client for questions, which joins no group.

        The member's own questions would wait behind its fetch, half a second each while nothing comes (measured).
        """
        client = Consumer({**self._settings, **NEEDED, **self._log.settings(), **(settings or {})})
        try:
            yield client
        finally:
            client.close()

    def _listed(self, offsets: Mapping[Place, int]) -> list[TopicPartition]:
        # With the epoch of the last record read, as Java's consumer does: whoever goes on is told of a truncated log.
        epochs = self._leader_epochs
        return [
            TopicPartition(*place, offset, leader_epoch=epochs[place])
            if place in epochs
            else TopicPartition(*place, offset)
            for place, offset in offsets.items()
        ]

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        if not self._is_incremental:
            # Who gets all anew has nothing else: what was not revoked before is not ours, and would be waited for.
            self._take_back([TopicPartition(*place) for place in sorted(self._given)], self._member.lost)
        try:
            starts = self._starts([(part.topic, part.partition) for part in partitions])
            self._member.assigned(starts)
            self._given.update(starts)
            placed = self._listed({place: start.offset for place, start in starts.items()})
            if self._is_incremental:
                self._client.incremental_assign(placed)
            else:
                self._client.assign(placed)
            if again := self._paused.intersection(starts):
                self.resume(again)  # an assignment begins unpaused, whatever was before
            self._topics = len({part.topic for part in self._client.assignment()})
        except ConnectError as error:
            self._error = error
        except KafkaException as error:
            self._error = as_ours(error.args[0], "take the assigned partitions")

    def _starts(self, places: list[Place]) -> Mapping[Place, Start]:
        """Where partitions begin. A first start is resolved here, so that a lost range later is an error."""
        stored = self._committed(places, self._timeout_seconds)
        committed = {place: offset for place, (offset, _) in stored.items()}
        fresh = [place for place in places if place not in committed]
        if fresh and self._start_at == "none":
            topic, partition = fresh[0]
            raise FinalError(
                f"topic {topic} partition {partition}: the group has no committed offset, "
                "and consumer.override.auto.offset.reset is none"
            )
        logical = OFFSET_END if self._start_at == "latest" else OFFSET_BEGINNING
        resolved = border(self._client, fresh, logical, self._timeout_seconds)
        starts = self._member.starts(self._found_at_start(committed, resolved))
        for place, start in starts.items():
            epoch = stored[place][1] if start.is_committed else None
            self._leader_epochs.pop(place, None)
            if epoch is not None and epoch >= 0:
                self._leader_epochs[place] = epoch
        return starts

    def find(self, offsets: Mapping[Place, int]) -> dict[Place, Found]:
        """What there is of partitions that are to go on at these offsets. Raises ConnectError."""
        return self._found(offsets, {}, self._log_borders(offsets))

    def _found_at_start(self, committed: Mapping[Place, int], fresh: Mapping[Place, int]) -> dict[Place, Found]:
        try:
            borders = self._log_borders([*committed, *fresh])
        except ConnectError as error:
            # A partition without a leader must not keep the others; a fetch finds what is gone as well.
            logger.warning("looking for lost records: %s", error)
            borders = {}
        return self._found(committed, fresh, borders)

    def _found(
        self, committed: Mapping[Place, int], fresh: Mapping[Place, int], borders: Mapping[Place, tuple[int, int]]
    ) -> dict[Place, Found]:
        places = [*committed, *fresh]
        self._ids.drop()  # an older answer than this
        ids = self.topic_ids({topic for topic, _ in places})
        return {
            place: Found(
                committed.get(place), fresh.get(place, 0), *borders.get(place, (0, MAX_OFFSET)), ids.get(place[0], "")
            )
            for place in places
        }

    def _log_borders(self, places: Collection[Place]) -> dict[Place, tuple[int, int]]:
        return self.borders(places, ASK_SECONDS, {"isolation.level": "read_uncommitted"})

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """The ids of topics, which change when one is deleted and made again; empty where there is none to know."""
        return topic_ids(client_settings(self._settings), topics, ASK_SECONDS)

    def ask_topic_ids(self, topics: Collection[str]) -> None:
        """Begin to ask for them, while records are read; `take_topic_ids` has the answer later."""
        self._ids.ask(topics, ASK_SECONDS)

    def take_topic_ids(self) -> dict[str, str]:
        """What was asked for, once it is there, and once; nothing of before the last assignment."""
        return self._ids.take()

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._take_back(partitions, self._member.revoked)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._take_back(partitions, self._member.lost)

    def _take_back(self, partitions: list[TopicPartition], tell: Callable[[list[Place]], None]) -> None:
        self._rebalances += 1
        places = [(part.topic, part.partition) for part in partitions]
        tell(places)
        self._given.difference_update(places)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        offsets = {(part.topic, part.partition): part.offset for part in partitions if part.offset != OFFSET_INVALID}
        bad = error or next((part.error for part in partitions if part.error is not None), None)
        self._member.committed(offsets, None if bad is None else as_ours(bad, "commit offsets"))

    def _without_events(self, messages: list[Message]) -> list[Message]:
        kept = []
        for message in messages:
            error = message.error()
            if error is None:
                kept.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ends[message.topic(), message.partition()] = message.offset()  # type: ignore[index, assignment]
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._gone[message.topic(), message.partition()] = message.offset()  # type: ignore[index, assignment]
            elif error.code() in DENIED:
                self._log.error(error)  # told once, and tried on
            elif error.fatal() or not (error.retriable() or error.code() in PASSING):
                raise as_ours(error, f"read topic {message.topic()}")
        return kept
