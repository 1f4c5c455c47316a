"""Code from outside the package, which may raise anything."""

import logging
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maf_runner.system import shortage
from maf_runner.system.errors import USER_ERRORS, OutsideError
from maf_runner.system.logs import FILE_ONLY
from maf_runner.system.text import plain

log = logging.getLogger("maf_runner")
NOT_THEIRS = (Path(__file__).resolve().parents[1], Path(sysconfig.get_path("stdlib")))


@contextmanager
def errors_of(what: str, kind: type[Exception] = OutsideError) -> Iterator[None]:
    """Inside, what is raised becomes one line that names ``what`` and the line of code.

    The log of the run, where there is one by then, has the traceback.

    Errors of ours and a lack of memory stay what they are. SystemExit is caught too: a module
    does not end the program.

    Raises:
        kind: whatever was raised.
    """
    try:
        yield
    except USER_ERRORS:
        raise
    except (Exception, SystemExit) as error:
        if shortage.is_memory(error):
            raise
        log.error("%s", what, exc_info=True, extra=FILE_ONLY)
        said = plain(" ".join(f"{error!s:.300}".split())) or "no message"
        raise kind(f"{what} raised {type(error).__name__}: {said}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where in code that is neither ours nor a library's an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        frame
        for frame in frames
        if "site-packages" not in Path(frame.filename).parts
        and not any(Path(frame.filename).is_relative_to(folder) for folder in NOT_THEIRS)
    ]
    return f" ({plain(theirs[-1].filename)}, line {theirs[-1].lineno})" if theirs else ""
