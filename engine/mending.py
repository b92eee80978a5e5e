"""What becomes of something that has failed, by its cause: a line, or a connector that did not start.

    cause      it is                                     it starts again
    outside    the world outside may recover             soon, later and later, without end
    refused    somebody outside refuses who it says      slowly, without end; at once when a secret's file changes
               it is
    config     its configuration is wrong                not until that changes
    record     a record cannot be taken on               once: when the same comes again, it would come for ever
    final      Millrace stopped it for a person to look  not by itself
    error      any other exception                       restart.max times, then the circuit opens
    crash      a signal, an exit, no process or memory   as `error`
               to be had
    fenced     others may have its place                 as `error`, for whatever policy

    circuit: closed ── too many in a row without progress, in the window ──► open ── its time ──► half-open
                ▲ progress, or a life as long as that time ◄──────────────────────────────────────┤ failed: open

`restart.policy=none` is Kafka Connect's way: what a plugin fails with is final, whatever it is. What its Kafka client,
or a signal that held it still, has ended comes back all the same: Kafka Connect's tasks live through both.

Used by: engine.supervisor, engine.herder, engine.bank, engine.pump, engine.plugins (kinds).
Not here: when exactly, among all lines (engine.supervisor.pacer); who starts it (engine.supervisor.line).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import NamedTuple

from engine.api.errors import (
    ConfigError,
    ConnectError,
    DataError,
    RecordTooLargeError,
    RefusedError,
    RetriableError,
    UnreachableError,
)
from engine.config.line import Restarts
from engine.exits import ExitCode
from engine.shm.lease import RivalError
from engine.shm.waits import FinalError

__all__ = [
    "UNCOUNTED",
    "Circuit",
    "How",
    "Kind",
    "Mending",
    "Verdict",
    "code_of",
    "comes_back",
    "failure_of_record",
    "kind_of",
    "kind_of_code",
    "longest_pause_ms",
]

MS_NS = 1_000_000


class Kind(IntEnum):
    """Why something ended, sorted by what helps."""

    NOTHING = 0
    OUTSIDE = 1
    REFUSED = 2
    CONFIG = 3
    RECORD = 4
    FINAL = 5
    ERROR = 6
    CRASH = 7
    FENCED = 8

    @property
    def label(self) -> str:
        """As the status names it."""
        return self.name.lower()


class Circuit(IntEnum):
    """Whether something that failed too often is tried at all."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2

    @property
    def label(self) -> str:
        """As the status names it."""
        return self.name.lower().replace("_", "-")


class How(IntEnum):
    """How something starts again."""

    NEVER = 0  # not by itself
    BACKOFF = 1
    SLOWLY = 2  # after restart.backoff.refused.ms
    CIRCUIT = 3  # after restart.circuit.ms, by way of trial


class Verdict(NamedTuple):
    """What becomes of it."""

    how: How
    in_a_row: int = 0  # restarts without progress so far, this one included
    told: str = ""  # to be said behind the cause


#: How a child ends for each kind of error, and what the supervisor understands.
_CODES = {
    Kind.OUTSIDE: ExitCode.RETRY,
    Kind.REFUSED: ExitCode.REFUSED,
    Kind.CONFIG: ExitCode.BAD_CONFIG,
    Kind.RECORD: ExitCode.BAD_RECORD,
    Kind.FINAL: ExitCode.FAILED,
    Kind.ERROR: ExitCode.ERROR,
    Kind.CRASH: ExitCode.CRASHED,
    Kind.FENCED: ExitCode.FENCED,
}
_KINDS = {int(code): kind for kind, code in _CODES.items()}
#: After these a circuit opens, when they have come too often.
_CIRCUITED = (Kind.ERROR, Kind.CRASH, Kind.FENCED)
#: These are nobody's fault in here: they use up no restarts.
UNCOUNTED = (Kind.OUTSIDE, Kind.REFUSED)
_TREE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Kind], ...] = (
    (RivalError, Kind.FENCED),
    # What Python raises by itself where a peer is away or silent; few plugins translate it.
    ((RetriableError, UnreachableError, ConnectionError, TimeoutError), Kind.OUTSIDE),
    (RefusedError, Kind.REFUSED),
    (ConfigError, Kind.CONFIG),
    ((DataError, RecordTooLargeError), Kind.RECORD),
    (FinalError, Kind.FINAL),
    (MemoryError, Kind.CRASH),
)


def kind_of(error: BaseException) -> Kind:
    """What kind of end an exception is that has left a plugin or a bank."""
    return next((kind for errors, kind in _TREE if isinstance(error, errors)), Kind.ERROR)


def failure_of_record(text: str, error: Exception) -> ConnectError:
    """What a bank fails with when a record could not be taken on: the record is to blame, unless the error says else.

    text: which record, and what could not be done to it.
    """
    kind = kind_of(error)
    made = {Kind.OUTSIDE: RetriableError, Kind.REFUSED: RefusedError}.get(kind, DataError)
    failure = made(text)
    failure.__cause__ = error
    return failure


def code_of(kind: Kind) -> ExitCode:
    """How a child ends that has met an error of this kind."""
    return _CODES[kind]


def kind_of_code(code: int, *, is_told: bool = True) -> Kind:
    """What kind of end a child's exit code is, below 0: a signal; it did not end well.

    is_told: it has said why; a code without a word is a plugin's, whichever it is.
    """
    return _KINDS.get(code, Kind.CRASH) if is_told else Kind.CRASH


def comes_back(restarts: Restarts, kind: Kind, fruitless: int, *, has_progressed: bool, is_plugins: bool) -> bool:
    """Whether what ended so starts again soon, not only by way of trial.

    fruitless: restarts in a row without progress before this life, by what counts. is_plugins: it ended in a process
    of plugins.
    """
    count = 0 if has_progressed else fruitless
    if kind == Kind.FENCED:
        return count < restarts.count_max
    if restarts.policy == "none":
        return kind == Kind.OUTSIDE and not is_plugins
    if kind in (Kind.CONFIG, Kind.FINAL):
        return False
    if kind == Kind.REFUSED:
        return restarts.refused_ms > 0
    limits = {Kind.RECORD: restarts.record_max, Kind.ERROR: restarts.error_max, Kind.CRASH: restarts.count_max}
    return kind == Kind.OUTSIDE or count < limits[kind]


def longest_pause_ms(restarts: Restarts, verdict: Verdict) -> int:
    """The longest pause before it starts again; what is shorter by chance keeps many from coming back in step."""
    if verdict.how == How.CIRCUIT:
        return restarts.circuit_ms
    if verdict.how == How.SLOWLY:
        return restarts.refused_ms
    # The exponent has a bound of its own: something may come back for days.
    return min(restarts.backoff_ms_max, restarts.backoff_ms << min(verdict.in_a_row - 1, 32))


class Mending:
    """The course of one line, or of one connector, over all its lives."""

    def __init__(self, restarts: Restarts) -> None:
        self._restarts = restarts
        self._ended_ns: deque[int] = deque()  # ends in a row without progress that count; at most restart.max of them
        self._in_a_row = 0  # restarts without progress, for whatever cause
        self.circuit = Circuit.CLOSED

    def fruitless(self, now_ns: int) -> int:
        """Restarts in a row without progress that count now."""
        window_ns = self._restarts.window_ms * MS_NS
        while window_ns and self._ended_ns and now_ns - self._ended_ns[0] >= window_ns:
            self._ended_ns.popleft()
        return len(self._ended_ns)

    def comes_back(self, kind: Kind, now_ns: int, *, has_progressed: bool, is_plugins: bool = True) -> bool:
        """As the function of this name; something that was on trial and failed does not, but for the world outside."""
        is_failed_trial = self.circuit != Circuit.CLOSED and kind in _CIRCUITED and not has_progressed
        fruitless = self.fruitless(now_ns)
        return not is_failed_trial and comes_back(
            self._restarts, kind, fruitless, has_progressed=has_progressed, is_plugins=is_plugins
        )

    def ended(self, kind: Kind, now_ns: int, *, has_progressed: bool, is_plugins: bool = True) -> Verdict:
        """It has ended so; returns what becomes of it."""
        is_soon = self.comes_back(kind, now_ns, has_progressed=has_progressed, is_plugins=is_plugins)
        if has_progressed:
            self._begin_anew()
        self._in_a_row += 1
        if is_soon:
            if kind not in UNCOUNTED:
                self._ended_ns.append(now_ns)
            return Verdict(How.SLOWLY if kind == Kind.REFUSED else How.BACKOFF, self._in_a_row)
        count = len(self._ended_ns)
        told = f" (after {count} restarts without progress)" if count and kind not in (Kind.CONFIG, Kind.FINAL) else ""
        if kind in _CIRCUITED and self._restarts.circuit_ms and self._restarts.policy != "none":
            self.circuit = Circuit.OPEN
            return Verdict(How.CIRCUIT, self._in_a_row, told)
        return Verdict(How.NEVER, self._in_a_row, told)

    def starts(self) -> None:
        """A life begins; after an open circuit, by way of trial."""
        if self.circuit == Circuit.OPEN:
            self.circuit = Circuit.HALF_OPEN

    def lives(self, life_ns: int, *, has_progressed: bool) -> None:
        """It runs since so long: a trial ends well by progress, or by a life as long as the circuit was open."""
        if self.circuit == Circuit.HALF_OPEN and (has_progressed or life_ns >= self._restarts.circuit_ms * MS_NS):
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._ended_ns.clear()
        self._in_a_row = 0
        self.circuit = Circuit.CLOSED
