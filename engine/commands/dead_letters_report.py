"""How dead letters, and what became of them, are shown: tables for people, JSON for machines.

    list      PLACE  FROM  STAGE  ERROR  ATTEMPT  MESSAGE, then how many letters each class of error has
    show      one letter, whole
    redrive   what is (would be) sent and where to, what is left and why

Used by: engine.commands.dlq.
Not here: what converters and transforms make of a record (trial_report.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from engine.api.java_dates import iso_text
from engine.commands.dead_letters import Letter
from engine.commands.redrive import Left, Reason, Redrive
from engine.commands.tables import table
from engine.letter_context import PREFIX

__all__ = ["counts_text", "letter_json", "letter_text", "listed_text", "redrive_json", "redrive_text", "summary_json"]

Mask = Callable[[str], str]

_HEAD = ("PLACE", "FROM", "STAGE", "ERROR", "ATTEMPT", "MESSAGE")
_SHOWN_MAX = 80  # characters of a message in a table
_LEFT_BY = {
    Reason.DONE: "sent again by an earlier command",
    Reason.FILTER: "left by filters",
    Reason.ATTEMPTS: "left, as they were sent again too often",
    Reason.LACKS: "left, as they are not the record as Kafka would have it",
    Reason.NOWHERE: "left, as there is no topic to send them to",
    Reason.REFUSED: "left, as they are refused",
}


def listed_text(letters: Sequence[Letter], mask: Mask) -> str:
    """A row a letter."""
    return table(_HEAD, [_row(letter, mask) for letter in letters])


def counts_text(errors: Counter[str]) -> str:
    """How many letters have each class of error, the most frequent first."""
    rows = sorted(errors.items(), key=lambda one: (-one[1], one[0]))
    return table(("LETTERS", "ERROR"), [(count, error or "(it does not say)") for error, count in rows])


def summary_json(letter: Letter, mask: Mask) -> dict[str, Any]:
    """A letter without its record."""
    context = letter.context
    return {
        "place": letter.place,
        "partition": letter.record.partition,
        "offset": letter.record.offset,
        "timestamp": letter.record.timestamp,
        "original": {"topic": letter.topic or None, "partition": letter.partition, "offset": letter.offset},
        "connector": context.get("connector.name"),
        "task": context.get("task.id"),
        "stage": context.get("stage"),
        "class": context.get("class.name"),
        "error": context.get("exception.class.name"),
        "code": context.get("code"),
        "message": mask(letter.message),
        "attempt": letter.attempt,
    }


def letter_json(letter: Letter, mask: Mask) -> dict[str, Any]:
    """All of a letter; a payload is null, or has one member: `json`, `text` or `hex`."""
    record = letter.record
    return {
        **summary_json(letter, mask),
        "key": _payload(record.key),
        "value": _payload(record.value),
        "headers": [[name, _payload(payload)] for name, payload in letter.own_headers],
        "stack": mask(letter.context.get("exception.stacktrace", "")),
    }


def letter_text(letter: Letter, topic: str, mask: Mask) -> str:
    """All of a letter, for people."""
    context, record = letter.context, letter.record
    about = {
        "from": letter.origin,
        "time": "" if record.timestamp is None else iso_text(record.timestamp),
        "connector": context.get("connector.name", ""),
        "task": context.get("task.id", ""),
        "stage": letter.stage,
        "class": context.get("class.name", ""),
        "error": letter.error,
        "code": letter.code,
        "message": mask(letter.message),
        "attempt": str(letter.attempt),
        "lacks": letter.lack,
        "key": _text(record.key),
        "value": _text(record.value),
    }
    lines = [f"letter {letter.place} of {topic}"]
    lines += [f"{name:<10} {_indented(text)}" for name, text in about.items() if text]
    lines += [f"{'header':<10} {name} = {_indented(_text(payload))}" for name, payload in letter.own_headers]
    if stack := mask(context.get("exception.stacktrace", "")).strip():
        lines += ["", stack]
    if not context:
        lines += ["", f"it has none of the headers of a dead letter ({PREFIX}*)"]
    return "\n".join(lines)


def redrive_text(done: Redrive, mask: Mask, *, is_dry: bool) -> str:
    """What a re-drive has done, or would do."""
    parts = []
    if is_dry:
        head = ("PLACE", "FROM", "TO", "ATTEMPT")
        rows = [(one.place, one.origin, to, one.attempt + 1) for one, to in done.destinations]
        parts.append("dry run: nothing is sent; --yes sends it")
        if rows:
            parts.append(_and_more(table(head, rows), done.sent - len(rows)))
    if done.left:
        rows_left = [(*_row(one.letter, mask)[:4], one.why) for one in done.left]
        more = sum(done.counts.values()) - done.counts[Reason.FILTER] - done.counts[Reason.DONE] - len(rows_left)
        parts.append(_and_more(table((*_HEAD[:4], "LEFT, AS"), rows_left), more))
    lines = [f"{done.sent} {'would be sent' if is_dry else 'sent'} again"]
    lines += [f"{done.dropped} of them dropped by transforms"] if done.dropped else []
    lines += [f"{done.counts[reason]} {words}" for reason, words in _LEFT_BY.items() if done.counts[reason]]
    if done.anew:
        lines.append(f"nothing is noted of partition {', '.join(map(str, done.anew))}: begins anew")
    if done.error:
        lines.append("it ended before its end; the same command goes on")
    if done.is_cut:
        lines.append("the rest was not looked at (--limit)")
    return "\n\n".join([*parts, "\n".join(lines)])


def redrive_json(done: Redrive, about: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """The same for machines. about: what is the same for all letters."""
    return {
        **about,
        "sent": done.sent,
        "dropped": done.dropped,
        "left": {reason.value: done.counts[reason] for reason in Reason},
        "is_cut": done.is_cut,
        "anew": list(done.anew),
        "error": mask(done.error) or None,
        "letters_left": [_left_json(one, mask) for one in done.left],
    }


def _left_json(one: Left, mask: Mask) -> dict[str, Any]:
    return {**summary_json(one.letter, mask), "reason": one.reason.value, "why": one.why}


def _row(letter: Letter, mask: Mask) -> tuple[str, ...]:
    message = " ".join(mask(letter.message).split())
    cut = message if len(message) <= _SHOWN_MAX else f"{message[:_SHOWN_MAX]}..."
    return letter.place, letter.origin, letter.stage, letter.error, str(letter.attempt or ""), cut


def _and_more(text: str, more: int) -> str:
    return f"{text}\nand {more} more" if more > 0 else text


def _payload(payload: bytes | None) -> dict[str, Any] | None:
    """Bytes as what they are most likely meant to be."""
    if payload is None:
        return None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {"hex": payload.hex()}
    if text.lstrip()[:1] in ("{", "["):
        try:
            return {"json": msgspec.json.decode(payload)}
        except (msgspec.DecodeError, RecursionError):
            pass
    return {"text": text} if all(one.isprintable() or one in "\n\r\t" for one in text) else {"hex": payload.hex()}


def _text(payload: bytes | None) -> str:
    shown = _payload(payload)
    if payload is None or shown is None:
        return "(null)"
    if "json" in shown:
        return msgspec.json.format(payload, indent=2).decode()
    if "text" in shown:
        return str(shown["text"]) or "(empty)"
    return f"(hex) {shown['hex']}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 11)
