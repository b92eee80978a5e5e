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

IN_BAD_RECORDS = (
    Mistake(
        "commit-past-a-letter",
        "offsets are committed past a record whose dead letter Kafka has not",
        LETTER_SEEDS,
        (Change(COMMITS, "            if 0 <= letter < offset:\n", "            if 0 <= letter < 0:\n"),),
    ),
    Mistake(
        "letter-done-when-sent",
        "a dead letter counts as written once the client has taken it",
        LETTER_SEEDS,
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
)
