"""A question to plugin code, asked in a short-lived child: a plugin that hangs, exits or eats memory costs an error.

    asking process                       probe child
    fork ──────────────────────────────► standard output is standard error now, memory bounded
    deadline starts again ◄── step ───── tell("connector orders: task_configs")
    bytes ◄──────────────── memfd ────── the answer, and it leaves by os._exit
    no answer in time: KILL, and an error that names the last step

Several questions may share a child, one after the other. One that gives no answer costs itself and that child: those
behind it are asked in another.

Bytes cross, never objects. The asking process has one thread and no Kafka client when it forks.

Used by: engine.plan, engine.plugins.apart, engine.demo.
Not here: what is asked (engine.plan, catalog.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import logging
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Struct

from engine.api.errors import ConfigError, Problem

__all__ = ["DEADLINE_KEY", "MEMORY_BYTES_MAX", "MEMORY_KEY", "ProbeError", "Question", "Tell", "in_probe", "in_probes"]

#: What a person raises when a plugin needs longer.
DEADLINE_KEY = "probe.timeout.ms"
#: What a person raises when a plugin needs more.
MEMORY_KEY = "probe.memory.max"
#: By default: more than any connector's class has a use for, and less than what makes a machine ill.
MEMORY_BYTES_MAX = 2 * 1024**3
#: Less would not do for Python and what it has imported.
MEMORY_BYTES_MIN = 64 * 1024**2
STEP_BYTES_MAX = 4096
#: Whoever waits for one who asks, waits longer, so that the nearer one tells of what took too long.
FOLLOWING_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
#: Exit codes of the child; 0 and 1 are what a plugin that calls exit would use itself.
ANSWERED = 90
# The only descriptors of the child beside 0, 1 and 2.
_ANSWER = 3
_STEPS = 4
_ABOVE = 10

_LIBC = ctypes.CDLL(None, use_errno=True)

logger = logging.getLogger("millrace.plan")

#: Says what is asked next, and perhaps how many seconds it may take; the deadline starts again.
Tell = Callable[..., None]
#: Gets `tell`, to be called before each piece of plugin code; returns any number of bytes.
Question = Callable[[Tell], bytes]
#: Before each answer in the memory of a child: its size.
_SIZE_BYTES = 8


class ProbeError(ConfigError):
    """Plugin code gave no answer: it hung, crashed or left. The last step is in the message."""


class _Step(Struct, frozen=True, array_like=True):
    """What the child is asking now."""

    title: str
    seconds: float | None = None  # its own time budget


class _Answer(Struct, frozen=True, array_like=True):
    """What the child leaves behind."""

    value: bytes = b""
    problems: tuple[Problem, ...] = ()
    trace: str = ""  # of an error that is no ConfigError: a mistake of ours
    step: str = ""  # what was asked when it was raised


_encode = msgspec.msgpack.Encoder().encode
_decode_step = msgspec.msgpack.Decoder(_Step).decode
_decode_answer = msgspec.msgpack.Decoder(_Answer).decode


class _Child(Struct, frozen=True):
    """The parent's end of a probe."""

    pid: int
    pid_descriptor: int
    answer: int
    steps: socket.socket


def in_probe(
    question: Question,
    *,
    timeout_seconds: float,
    memory_bytes: int = MEMORY_BYTES_MAX,
    follow: Tell = lambda *_: None,
) -> bytes:
    """What `question` answers, asked in a child that heads a process group of its own (Ctrl-C does not reach it).

    timeout_seconds: for each step that names no other. memory_bytes: the most data that the child may have; at least
    MEMORY_BYTES_MIN, and in a probe of a probe no more than that has. follow: told of each step, for whoever waits for
    the asking process in turn.
    Raises ConfigError as the question did; ProbeError when no answer came; RuntimeError, with the child's
    traceback, for any other exception.
    """
    answers, failure = _asked([question], timeout_seconds, memory_bytes, follow)
    if failure is not None:
        raise failure
    return _value(answers[0])


def in_probes(
    questions: Sequence[Question], *, timeout_seconds: float, memory_bytes: int = MEMORY_BYTES_MAX
) -> Iterator[bytes | ConfigError]:
    """What each of these answers, or the ConfigError of `in_probe`; in as few children as they let live.

    What one of them leaves behind in its process, those after it find. Raises RuntimeError, as `in_probe`.
    """
    left = list(questions)
    while left:
        answers, failure = _asked(left, timeout_seconds, memory_bytes, lambda *_: None)
        for answer in answers:
            try:
                yield _value(answer)
            except ConfigError as error:
                yield error
        if failure is not None:
            yield failure
        del left[: len(answers) + (failure is not None)]


def _asked(
    questions: Sequence[Question], timeout_seconds: float, memory_bytes: int, follow: Tell
) -> tuple[list[_Answer], ProbeError | None]:
    """What one child has answered, and why the next question has no answer; None: all have one."""
    late = None
    with _forked(questions, memory_bytes) as child:
        try:
            step = _wait(child, timeout_seconds, follow)
        except ProbeError as error:
            late = error
        status = _end(child.pid)
        answers = list(_read(child.answer))
    if late is None and os.waitstatus_to_exitcode(status) == ANSWERED and len(answers) == len(questions):
        return answers, None
    del answers[len(questions) - 1 :]  # whoever does not leave as a probe does, has not answered to the end
    return answers, late or ProbeError(f"{step.title}: {_how_it_ended(status)}")


def _value(answer: _Answer) -> bytes:
    """What a question has answered. Raises as `in_probe`."""
    if answer.trace:
        raise RuntimeError(f"{answer.step}:\n{answer.trace}")
    if answer.problems:
        raise ConfigError(answer.problems)
    return answer.value


def _wait(child: _Child, timeout_seconds: float, follow: Tell) -> _Step:
    """Follow the child's steps to its end; returns the last. Raises ProbeError after a step's deadline."""
    step = _Step("starting to ask plugins")
    poll = select.poll()
    poll.register(child.pid_descriptor, select.POLLIN)
    poll.register(child.steps, select.POLLIN)
    deadline = time.monotonic() + timeout_seconds
    while True:
        left = deadline - time.monotonic()
        ready = dict(poll.poll(max(0.0, left) * 1000))
        if child.steps.fileno() in ready:
            message = child.steps.recv(STEP_BYTES_MAX)
            if message:
                step = _decode_step(message)
                follow(step.title, (step.seconds or timeout_seconds) + FOLLOWING_SECONDS)
                deadline = time.monotonic() + (step.seconds or timeout_seconds)
                continue
            poll.unregister(child.steps)
        if child.pid_descriptor in ready:
            return step
        if not ready:
            seconds = step.seconds or timeout_seconds
            raise ProbeError(f"{step.title}: no answer within {seconds:g} s ({DEADLINE_KEY}); its process was ended")


def _end(pid: int) -> int:
    """Kill what is left of the child and whatever it started; returns the child's status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return status


def _read(descriptor: int) -> Iterator[_Answer]:
    """The answers that are there to their ends."""
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        while len(size := file.read(_SIZE_BYTES)) == _SIZE_BYTES:
            written = file.read(int.from_bytes(size))
            if len(written) == int.from_bytes(size):
                yield _decode_answer(written)


def _how_it_ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"its process crashed with signal {number} ({signal.Signals(number).name})"
    return f"its process left with exit code {os.waitstatus_to_exitcode(status)} instead of answering"


@contextlib.contextmanager
def _forked(questions: Sequence[Question], memory_bytes: int) -> Iterator[_Child]:
    parent = os.getpid()
    answer = os.memfd_create("probe", os.MFD_CLOEXEC)
    steps, steps_of_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    with _uncollected():
        pid = os.fork()
        if not pid:
            gc.freeze()
            gc.enable()
            _live(questions, parent, answer, steps_of_child.fileno(), memory_bytes)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)  # as the child does itself: whoever comes first
    steps_of_child.close()
    pid_descriptor = os.pidfd_open(pid)
    try:
        yield _Child(pid, pid_descriptor, answer, steps)
    finally:
        with contextlib.suppress(ChildProcessError):
            _end(pid)
        os.close(pid_descriptor)
        os.close(answer)
        steps.close()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Garbage of the parent is not the child's to collect: a client would wait there for threads that it has not.

    What runs in the child before the fork returns (Python's own hooks) may already set the collector going.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _live(questions: Sequence[Question], parent: int, answer: int, steps: int, memory_bytes: int) -> None:
    """The child's whole life; never returns."""
    code = 1
    try:
        _become_child(parent, answer, steps)
        _limit(memory_bytes)
        with os.fdopen(_ANSWER, "wb", closefd=False) as file:
            for question in questions:
                written = _encode(_ask(question))
                file.write(len(written).to_bytes(_SIZE_BYTES) + written)
                file.flush()
        code = ANSWERED
    except BaseException as error:  # noqa: BLE001  whatever it was, nothing of the parent's may be torn down here
        with contextlib.suppress(BaseException):
            # Without its message, which may have secrets that nobody here knows yet.
            where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            logger.error("a question to plugins has ended in %s:\n%s", type(error).__name__, where)  # noqa: TRY400
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _ask(question: Question) -> _Answer:
    step = ""

    def tell(title: str, seconds: float | None = None) -> None:
        nonlocal step
        step = title
        _tell(title, seconds)

    try:
        return _Answer(question(tell))
    except ConfigError as error:
        return _Answer(problems=error.problems)
    except Exception:  # noqa: BLE001  it is raised again on the other side
        return _Answer(trace=traceback.format_exc(), step=step)


def _tell(title: str, seconds: float | None = None) -> None:
    message = _encode(_Step(title, seconds))
    if len(message) > STEP_BYTES_MAX:
        message = _encode(_Step(title[: STEP_BYTES_MAX // 8], seconds))
    os.write(_STEPS, message)


def _become_child(parent: int, answer: int, steps: int) -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _keep_only(answer, steps)
    # What plugins print is no part of the command's output.
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit(memory_bytes: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = max(memory_bytes, MEMORY_BYTES_MIN)
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _keep_only(answer: int, steps: int) -> None:
    # First out of the way of the numbers they shall have.
    answer, steps = os.dup(answer), os.dup(steps)
    moved = [_moved_up(descriptor) for descriptor in (answer, steps)]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    os.dup2(moved[0], _ANSWER)
    os.dup2(moved[1], _STEPS)
    os.closerange(_STEPS + 1, os.sysconf("SC_OPEN_MAX"))


def _moved_up(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, _ABOVE)
