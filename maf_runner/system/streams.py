"""Standard streams that may be closed, full or a broken pipe: none of this ends a command.

Messages go to standard error, results to standard output. What cannot be written to standard error
is lost, and nothing else happens. A reader of standard output that goes away, as ``head`` does,
ends a command in silence.
"""

import errno
import os
import sys
from contextlib import suppress
from typing import Any

BROKEN_PIPE = 141  # the exit code by which shells know it: 128 + SIGPIPE


class _Forgiving:
    """A text stream on which nothing fails."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # full, broken, or closed
            self.stream.write(text)
            self.stream.flush()
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def settle() -> None:
    """Prepare the streams; called once, before a command opens any file.

    Without it the first file that is opened would take the number of a closed stream, and messages
    would be written into it. A closed standard input is empty. Writing to a closed standard output
    is an error, as results would be lost.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another alphabet shows a mark
    if not isinstance(sys.stderr, _Forgiving):
        sys.stderr = _Forgiving(sys.stderr)


def finish(program: str, code: int) -> int:
    """Write out what is left on standard output; returns the exit code.

    Args:
        program: for the message.
        code: the exit code if all goes well.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        return lost_output(program, error, said=code != 0) or code
    return code


def lost_output(program: str, error: Exception, *, said: bool = False) -> int:
    """The exit code where standard output cannot be written; it is given up for good.

    With ``said`` the user has had a message about a failure already, and gets no second one.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # else Python tries again when it ends, and complains
        os.close(nowhere)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return BROKEN_PIPE
    reason = error.strerror if isinstance(error, OSError) else error
    if not said:
        print(f"{program}: standard output cannot be written ({reason})", file=sys.stderr)
    return 1
