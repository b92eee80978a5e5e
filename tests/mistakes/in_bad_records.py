"""Mistakes about records that fail: dead letters, what is skipped, what Kafka refuses.

Used by: tests.mistakes.
"""

from __future__ import annotations

from tests.mistakes.mistake import LETTER_SEEDS, REFUSED_SEEDS, SKIPPED_SEEDS, Change, Mistake

__all__ = ["IN_BAD_RECORDS"]

COMMITS = "engine/pump/commits.py"
DELIVERY = "engine/pump/delivery.py"
LETTERS = "engine/pump/letters.py"
SOURCE = "engine/task/source.py"
TASK_LETTERS = "engine/task/letters.py"
TOLERANCE = "engine/task/tolerance.py"
SINK_SUSPECTS = "engine/task/sink_suspects.py"
KNOWN_AGAIN = "engine/task/known_again.py"
OUTGOING = "engine/stages/outgoing.py"
SUSPECTS = "engine/task/suspects.py"
SOURCE_SUSPECTS = "engine/task/source_suspects.py"
LATE_LETTERS = "tests/unit/task/test_dead_letters.py::test_nothing_is_committed_past_a_letter_that_kafka_has_not"
FLUSHED_LETTERS = (
    "tests/unit/task/test_positions.py::test_no_flush_tells_of_more_than_lies_before_a_letter_that_was_reported"
)
REFUSED_LETTER = "tests/unit/task/test_positions.py::test_a_record_whose_letter_is_refused_is_refused_again_without_end"
PUMP_DIES = "tests/unit/supervisor/test_line_mending.py::test_only_a_death_of_plugins_leaves_behind_what_was_in_hand"
KILLS_PUT = "tests/unit/task/test_suspects.py::test_the_record_becomes_a_dead_letter_and_all_others_are_put"
KILLS_FLUSH = (
    "tests/unit/task/test_suspects.py::test_one_that_kills_when_it_is_flushed_is_found_among_all_that_were_put"
)
KILLS_STAGE = "tests/unit/task/test_suspects.py::test_one_that_kills_a_stage_process_is_found_beside_the_connector"
KILLS_SOURCE = "tests/unit/task/test_source_suspects.py::test_it_becomes_a_dead_letter_and_all_others_arrive"
KILLS_BOTH = "tests/unit/task/test_source_suspects.py::test_nothing_is_taken_before_what_has_failed_is_stored"
KILLS_NEIGHBOUR = (
    "tests/unit/task/test_source_suspects.py::test_no_offset_is_stored_before_all_records_that_have_it_are_there"
)
KILLS_IN_RANGE = (
    "tests/unit/task/test_source_suspects.py::test_it_is_found_in_a_range_of_one_offset_that_comes_whole_in_each_life"
)
KILLS_IN_A_TABLE = "tests/unit/task/test_source_suspects.py::test_and_by_their_topics"
KILLS_IN_TURN = "tests/unit/task/test_source_suspects.py::test_neighbours_of_one_offset_need_not_follow_each_other"
FAILS_NEIGHBOUR = (
    "tests/unit/task/test_source_suspects.py::test_one_that_fails_comes_again_with_those_before_it_that_have_its_offset"
)
KILLS_ANEW = (
    "tests/unit/task/test_source_suspects.py::test_a_search_that_begins_before_anything_was_stored_is_no_progress"
)
KILLS_BEHIND_OTHERS = (
    "tests/unit/task/test_suspects.py::test_suspects_of_several_partitions_have_not_all_passed_with_the_last_of_them"
)

IN_BAD_RECORDS = (
    Mistake(
        "commit-past-a-letter",
        "offsets are committed past a record whose dead letter Kafka has not",
        LATE_LETTERS,
        (Change(COMMITS, "            if 0 <= letter < offset:\n", "            if 0 <= letter < 0:\n"),),
    ),
    Mistake(
        "letter-done-when-sent",
        "a dead letter counts as written once the client has taken it",
        LATE_LETTERS,
        (
            Change(
                LETTERS,
                "        self._queue_bytes += size\n",
                "        self._queue_bytes += size\n        self._done.add(letter.number)\n",
            ),
        ),
    ),
    Mistake(
        "first-letter-only",
        "of the letters of a partition the oldest is forgotten when any is acknowledged",
        LETTER_SEEDS,
        (
            Change(
                LETTERS,
                "        while heap and heap[0][1] in self._done:\n"
                "            self._done.discard(heapq.heappop(heap)[1])\n",
                "        while heap and self._done:\n"
                "            self._done.discard(heapq.heappop(heap)[1])\n"
                "            self._done.clear()\n",
            ),
        ),
    ),
    Mistake(
        "seek-past-a-letter",
        "a task that seeks past a record which it reported is told to keep that as its position, letter or not",
        "tests/unit/task/test_positions.py::"
        "test_a_seek_past_a_record_that_was_reported_is_no_position_before_its_letter_is_there",
        (
            Change(
                TASK_LETTERS,
                "                if part is not None and number > part.letters_before and offset >= part.told:\n",
                "                if part is not None and number > part.letters_before and offset >= part.flushed:\n",
            ),
        ),
    ),
    Mistake(
        "late-report-holds-up",
        "a record that is reported when all before it is safe has the position told anew, as far as before it",
        "tests/unit/task/test_positions.py::test_a_record_that_is_reported_late_takes_no_position_back",
        (
            Change(
                TASK_LETTERS,
                "                if part is not None and number > part.letters_before and offset >= part.told:\n",
                "                if part is not None and number > part.letters_before:\n",
            ),
        ),
    ),
    Mistake(
        "put-behind-a-letter",
        "what lies behind a bad record is put before Kafka has its dead letter",
        LETTER_SEEDS,
        (
            Change(
                "engine/task/sink.py",
                "        if not going.coming.letter or self.reporter.has_acknowledged(going.coming.letter):\n",
                "        if not going.coming.letter or self.reporter.has_acknowledged(0):\n",
            ),
        ),
    ),
    Mistake(
        "flush-past-a-letter",
        "a sink is asked to make safe what lies behind a record whose dead letter is on its way",
        FLUSHED_LETTERS,
        (
            Change(
                "engine/task/parts.py",
                "    return {**offsets, **short}, not short\n",
                "    return offsets, not short\n",
            ),
        ),
    ),
    Mistake(
        "blamed-for-its-letter",
        "a record that kills counts as another one each time its dead letter is refused",
        REFUSED_LETTER,
        (Change("engine/task/suspects.py", "        if not self.was_refused:", "        if lone:"),),
    ),
    Mistake(
        "suspects-of-a-pump",
        "what a task had in hand when its pump died is looked through",
        PUMP_DIES,
        (Change("engine/supervisor/line.py", '        if end.bank == "pump":\n', '        if end.bank == "pumps":\n'),),
    ),
    Mistake(
        "letter-of-the-wrong-record",
        "a dead letter has the bytes of the record before it",
        LETTER_SEEDS,
        (
            Change(
                TASK_LETTERS,
                "                message.values[index],\n",
                "                message.values[index - 1],\n",
            ),
        ),
    ),
    Mistake(
        "skipped-not-counted",
        "what is skipped is not in the ledger",
        SKIPPED_SEEDS,
        (
            Change(
                TOLERANCE,
                "        if self._errors.is_tolerant:\n            self._count(Word.SKIPPED)\n",
                "",
            ),
        ),
    ),
    Mistake(
        "skipped-with-its-batch",
        "a record that is skipped takes those behind it in the poll along",
        SKIPPED_SEEDS,
        (
            Change(
                SOURCE,
                "            if written < batch.expected - len(batch.columns.skipped):\n",
                "            if written < batch.expected:\n",
            ),
        ),
    ),
    Mistake(
        "refused-again",
        "a record that Kafka has refused is sent again with its batch",
        REFUSED_SEEDS,
        (
            Change(
                DELIVERY,
                "        self._settled[number] = None\n        return True\n",
                "        return True\n",
            ),
        ),
    ),
    Mistake(
        "refused-and-the-next",
        "with a record that Kafka has refused the next one is left out",
        REFUSED_SEEDS,
        (
            Change(
                DELIVERY,
                "        self._settled[number] = None\n        return True\n",
                "        self._settled[number] = None\n        self._settled[number + 1] = None\n        return True\n",
            ),
        ),
    ),
    Mistake(
        "refused-letter-not-awaited",
        "a record that Kafka has refused is done with before Kafka has its dead letter",
        REFUSED_SEEDS,
        (
            Change(
                DELIVERY,
                "            sent.letters.append(index)\n",
                "            sent.letters.append(index)\n            sent.settle(index, None)\n",
            ),
        ),
    ),
    Mistake(
        "source-letter-behind-its-poll",
        "dead letters of a source go into frames behind the offsets of their poll",
        SKIPPED_SEEDS,
        (
            Change(
                SOURCE,
                "                self._write_letters(self._letters, skipped, done, records)\n",
                "                pass\n",
            ),
            Change(
                SOURCE,
                "            self._framing.offsets(offsets, is_urgent=not len(polled))\n\n    def _write(",
                "            self._framing.offsets(offsets)\n"
                "        if self._letters is not None and skipped:\n"
                "            self._write_letters(self._letters, skipped, done, records)\n\n    def _write(",
            ),
        ),
    ),
    Mistake(
        "done-before-its-letter",
        "a source is told that a record is done with before Kafka has its dead letter",
        SKIPPED_SEEDS,
        (Change(SOURCE, ".difference(kept, lettered)", ".difference(kept)"),),
    ),
    Mistake(
        "letters-are-counted",
        "dead letters of a source count as records of it",
        SKIPPED_SEEDS,
        (
            Change(
                "engine/pump/source.py",
                "        self._acknowledged += done.counted\n",
                "        self._acknowledged += done.count\n",
            ),
        ),
    ),
    Mistake(
        "suspects-off-by-one",
        "of suspects one more is taken at once than is meant",
        KILLS_PUT,
        (
            Change(
                SINK_SUSPECTS,
                "        bounds += [*range(bounds[-1] + records, end, records), end]\n",
                "        bounds += [*range(bounds[-1] + records + 1, end, records), end]\n",
            ),
        ),
    ),
    Mistake(
        "flush-is-not-suspected",
        "what was put is not in hand while it is flushed",
        KILLS_FLUSH,
        (Change(SINK_SUSPECTS, "        self._taken = self._unflushed\n        self._tell_all()\n", ""),),
    ),
    Mistake(
        "dealt-is-laid-down",
        "a task that ends in order, as a stage process has died, forgets what that had in hand",
        KILLS_STAGE,
        (
            Change(
                SINK_SUSPECTS,
                "        self._taken = None\n        self._tell_all()\n",
                "        self._taken = self._away = None\n        self._tell_all()\n",
            ),
        ),
    ),
    Mistake(
        "source-suspects-off-by-one",
        "of a poll that is cut the first record of each further part is lost",
        KILLS_SOURCE,
        (
            Change(
                SOURCE_SUSPECTS,
                "            part = _slice(polled, begin, end)\n",
                "            part = _slice(polled, begin + (begin > 0), end)\n",
            ),
        ),
    ),
    Mistake(
        "killed-without-a-letter",
        "a record of a source that kills is skipped and nobody hears of it",
        KILLS_SOURCE,
        (
            Change(
                SOURCE_SUSPECTS,
                "            return Outbound(0, [], None, 0, [], failed)\n",
                "            return Outbound(0, [], None, 0, [])\n",
            ),
        ),
    ),
    Mistake(
        "next-before-the-killed-is-stored",
        "a source goes on before the offset of a record that kills is stored: the next death brings it again",
        KILLS_BOTH,
        (Change(SOURCE_SUSPECTS, "        if now_ns < self._await_until_ns:\n", "        if now_ns < 0:\n"),),
    ),
    Mistake(
        "stored-past-killed-neighbours",
        "a poll is cut between records of one offset, which is stored before all of them are in Kafka",
        KILLS_NEIGHBOUR,
        (
            Change(
                SOURCE_SUSPECTS,
                "            self._parts[id(part)] = _Part(part, places, begin)\n",
                "",
            ),
        ),
    ),
    Mistake(
        "neighbours-are-one",
        "records of a source that have one offset are taken for the one that kills",
        KILLS_IN_RANGE,
        (
            Change(
                KNOWN_AGAIN,
                "    topic, key, value, headers = _content(polled, index)\n",
                '    topic, key, value, headers = "", None, None, None\n',
            ),
        ),
    ),
    Mistake(
        "tables-are-one",
        "records of a source that differ in their topic alone are taken for the one that kills",
        KILLS_IN_A_TABLE,
        (Change(KNOWN_AGAIN, "(zlib.crc32(topic.encode()) ^ _number(key))", "_number(key)"),),
    ),
    Mistake(
        "only-the-next-has-the-offset",
        "of a poll that is cut an offset is stored though more records have it, behind others",
        KILLS_IN_TURN,
        (Change(OUTGOING, "and self._last[place] < end ", "and self._each[end : end + 1] != [place] "),),
    ),
    Mistake(
        "stored-past-a-failed-neighbour",
        "the offset of a record that fails is stored, as one before it has the same",
        FAILS_NEIGHBOUR,
        (
            Change(
                SOURCE_SUSPECTS,
                "outgoing.Places(polled).between(0, end)",
                "outgoing.last_offsets(_slice(polled, 0, end))",
            ),
        ),
    ),
    Mistake(
        "each-search-is-progress",
        "a search that begins again before anything was stored counts as progress, and uses up no restart.max",
        KILLS_ANEW,
        (Change(SUSPECTS, "        if is_nearer and row.get(Word.BEGUN) % 2:\n", "        if is_nearer:\n"),),
    ),
    Mistake(
        "last-partition-is-all",
        "of a sink's suspects in several partitions all have passed once those of the last one have",
        KILLS_BEHIND_OTHERS,
        (Change(SINK_SUSPECTS, "hand.last % MANY >= last\n", "hand.last % MANY >= last % MANY\n"),),
    ),
)
