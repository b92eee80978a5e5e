"""Whether a task could open its file, found out without opening it.

    source    there, no folder, and readable                    a pipe is not waited for, nor read
    sink      writable; or its folder is there, and writable    nothing is made, or cut

Asked in the user's name that tasks have as well. An answer says what was expected and names no part of the path: all of
it may be a secret, which is hidden where it stands whole. What leads to a descriptor of the process itself, as
/dev/stdout does, is never judged: who asks has others than the task will have.

Used by: sink.py, source.py.
Not here: opening (appender.py, source.py), which may fail all the same, as files come and go.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["why_unreadable", "why_unwritable"]

#: Links that lead to links, at most; the kernel follows as many.
LINKS_MAX = 40
_AS_IT_ENDS = "a bulk run does not wait for it (--forever and a worker do)"
_NO_PART = "a part of its path is a file, or cannot be entered by this user; expected folders that can"


def why_unreadable(path: str) -> str:
    """What keeps a source from reading the file now; empty: nothing."""
    if _is_descriptor(path):
        return ""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return f"there is no such file; expected one that is there, as {_AS_IT_ENDS}"
    except (OSError, ValueError) as error:
        return _why_out_of_reach(error)
    if stat.S_ISDIR(mode):
        return "it is a folder; expected a file"
    return "" if _may(path, os.R_OK) else "this user may not read it; expected a file that it may"


def why_unwritable(path: str) -> str:
    """What keeps a sink from appending to the file, or from making it; empty: nothing."""
    if not path:
        return "it is empty; expected a file, or no such key for standard output"
    if _is_descriptor(path):
        return ""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return _why_not_made(path)
    except (OSError, ValueError) as error:
        return _why_out_of_reach(error)
    if stat.S_ISDIR(mode):
        return "it is a folder; expected a file"
    if not stat.S_ISREG(mode):
        return "" if _may(path, os.W_OK) else "this user may not write to it; expected what it may write to"
    # To cut off a torn line it is read as well (appender.py).
    return "" if _may(path, os.R_OK | os.W_OK) else "this user may not read and write it; expected a file that it may"


def _is_descriptor(path: str) -> bool:
    """Whether it is /dev/stdin, /dev/fd/4, /proc/self/fd/4 and the like, or a link that leads there."""
    try:
        for _ in range(LINKS_MAX):
            place = Path(path)
            folder = place.parent.resolve()
            if folder.parent == Path("/proc/self").resolve() and folder.name == "fd":
                return True
            if not place.is_symlink():
                return False
            path = str(folder / place.readlink())
    except (OSError, ValueError, RuntimeError):  # no path at all, or links in a circle
        pass
    return False


def _why_not_made(path: str) -> str:
    if path.endswith("/"):
        return "it is a folder; expected a file"
    folder = Path(path).resolve().parent  # of what a link leads to, which is where it would be made
    if not folder.is_dir():
        return f"its folder does not exist; expected one that does, as nobody makes it and {_AS_IT_ENDS}"
    may = _may(folder, os.W_OK | os.X_OK)
    return "" if may else "this user may not make files in its folder; expected one where it may"


def _why_out_of_reach(error: OSError | ValueError) -> str:
    if isinstance(error, NotADirectoryError | PermissionError):
        return _NO_PART
    return f"there can be no such file ({error.strerror if isinstance(error, OSError) else error}); expected a path"


def _may(path: str | Path, mode: int) -> bool:
    """As the kernel will see it: also of a file system that is mounted to be read only."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
