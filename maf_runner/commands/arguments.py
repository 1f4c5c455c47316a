"""What the commands share: exit codes, errors in one line, default folders, arguments."""

import argparse
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf_runner import __version__
from maf_runner.system import shortage, streams
from maf_runner.system.conf_path import CONF
from maf_runner.system.errors import USER_ERRORS, DataError, UsageError, extra
from maf_runner.system.text import plain, plain_lines

if TYPE_CHECKING:
    from maf_runner.records.record import Record

WIDTH = 80  # letters of a line of help
DEEP = 12  # spaces before a line that goes on with the example above it
DONE, FAILED, USAGE, DATA, DIVERGED = 0, 1, 2, 3, 4  # exit codes


class Several(argparse.Action):
    """``--given a=1 --given b=2`` is ``--given a=1,b=2``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse for each."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is None else f"{before},{values}")


def exit_code(error: Exception) -> int:
    """The exit code of one of `USER_ERRORS`."""
    if isinstance(error, UsageError):
        return USAGE
    return DATA if isinstance(error, DataError) else FAILED


def without_numpy_warnings() -> None:
    """Keep numpy's warnings of overflow off the screen: results that are not finite are reported.

    numpy need not be imported.
    """
    warnings.filterwarnings("ignore", category=RuntimeWarning)


def guarded(program: str, work: Callable[[], int | None]) -> int:
    """Do the work; turn errors that the user can mend into a line and an exit code.

    Such are `USER_ERRORS`, and a disk or a memory that does not suffice.
    """
    streams.settle()
    without_numpy_warnings()
    return streams.finish(program, _guarded(program, work))


def _guarded(program: str, work: Callable[[], int | None]) -> int:
    try:
        return work() or DONE
    except BrokenPipeError as error:
        return streams.lost_output(program, error)
    except USER_ERRORS as error:
        print(f"{program}: {plain_lines(str(error))}", file=sys.stderr)
        return exit_code(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {plain(where)}{error.strerror or error}", file=sys.stderr)
    except Exception as error:
        if not shortage.is_memory(error):
            raise
        print(f"{program}: there is not enough memory for this", file=sys.stderr)
    return FAILED


def default_paths() -> dict[str, Any]:
    """The settings of the group ``paths`` as maf-run has them: results_dir, raw_dir, and so on.

    Without settings of this machine (``conf/local/default.yaml``) one file says all; Hydra, which
    takes a third of a second, is asked only where there are some.

    Raises:
        UsageError: the settings cannot be composed.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not (CONF / "local" / "default.yaml").is_file():
        node = OmegaConf.load(CONF / "paths" / "default.yaml")
        return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            node = compose("config").paths
        return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"the settings in {CONF} cannot be composed: {error}") from error


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``--results DIR``."""
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(default_paths()["results_dir"]).expanduser(),
        metavar="DIR",
        help="folder with runs/ and records/ (default paths.results_dir of the settings, which "
        "is %(default)s)",
    )


def add_shipped(parser: argparse.ArgumentParser) -> None:
    """Add ``--shipped``."""
    parser.add_argument(
        "--shipped", action="store_true", help="also the records that come with the project"
    )


def records_of(
    options: argparse.Namespace, more: Sequence[Any] = ()
) -> "tuple[list[Record], list[str]]":
    """The records that ``--results`` and ``--shipped`` name, and a complaint for each left out.

    Args:
        options: of a command with `add_results` and `add_shipped`.
        more: what the command shows besides records.

    Raises:
        DataError: there are no records and nothing ``more``; the message says how many come with
            the project.
    """
    from maf_runner.records import entries

    records, complaints = entries.find(options.results, shipped=options.shipped)
    if options.shipped and not entries.shipped_records(options.results):
        complaints.append(
            f"no records come with the project in {options.results / 'records'}: --shipped is for "
            "its folder, or --results DIR"
        )
    if not records and not more:
        text = f"no runs of yours under {options.results.absolute()}. {entries.HINT}"
        shipped = 0 if options.shipped else len(entries.shipped_records(options.results))
        if shipped:
            text += f". --shipped shows the {shipped} that come with the project"
        raise DataError("\n".join([*complaints, text]))
    return records, complaints


def complain(program: str, complaints: Sequence[str]) -> None:
    """Print a line for each complaint on standard error."""
    for complaint in complaints:
        print(f"{program}: {plain(complaint)}", file=sys.stderr)


def parser_of(program: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The argument parser of a command, with ``--version`` and ``--print-completion``.

    Its help has no marks of a docstring, and lines of at most 80 letters.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=textwrap.fill(description.replace("``", ""), WIDTH),
        epilog=_narrowed(epilog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print a script that completes this command in a shell",
    )
    return parser


def _narrowed(epilog: str) -> str:
    """Paragraphs and examples in lines of at most 80 letters."""
    lines: list[str] = []
    for line in epilog.splitlines():
        before = lines[-1] if lines else ""
        goes_on = line.startswith(" " * DEEP) or (line and before and not line[0].isspace())
        if goes_on and before and not before.endswith(":"):
            lines[-1] = f"{before} {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(map(narrow, lines))


def narrow(line: str) -> str:
    """A line of at most 80 letters, or several; what stands behind an example goes below it.

    >>> print(narrow("  maf-table runs    " + "every run, finished or not, in its own line " * 2))
      maf-table runs
          every run, finished or not, in its own line every run, finished or not, in
          its own line
    """
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    example = re.fullmatch(r"(\s*\S.*?)\s{2,}(\S.*?)\s*", line)
    if example is None:
        return textwrap.fill(line, WIDTH, subsequent_indent=indent)
    behind = textwrap.fill(
        example[2], WIDTH, initial_indent=f"{indent}    ", subsequent_indent=f"{indent}    "
    )
    return f"{example[1]}\n{behind}"


class _Completion(argparse.Action):
    """Prints the script, made by shtab, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *details: Any) -> None:
        try:
            import shtab
        except ImportError:
            parser.error(f"--print-completion needs shtab: {extra('completion')}")
        print(shtab.complete(parser, shell=details[1]))
        parser.exit()


def of_a_run(
    program: str, description: str, epilog: str = "", *, label: bool = True, several: bool = False
) -> argparse.ArgumentParser:
    """An argument parser that takes a run and, with ``label``, a class label.

    With ``several`` it takes one run or more, as a list named ``run``.
    """
    parser = parser_of(program, description, epilog)
    text = "run folder, as maf-run prints it, or run id, as maf-table runs does"
    if several:
        text += "; several: the uniform mixture of these runs"
        parser.add_argument("run", type=_run, nargs="+", metavar="RUN", help=text)
    else:
        parser.add_argument("run", type=_run, metavar="RUN", help=text)
    if label:
        parser.add_argument(
            "--label",
            metavar="Y",
            help="a class of a conditional model; of your own table: its value in the label "
            "column",
        )
    add_plugins(parser)
    return parser


def _run(name: str) -> Path:
    """The folder of a run, which may be named by its id."""
    from maf_runner.records import entries

    if Path(name).exists():  # nearly always: then the settings need not be read
        return Path(name)
    try:
        return entries.place(name, Path(default_paths()["results_dir"]).expanduser())
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugin MODULE``."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module from outside that a run's model or data are of; it is imported",
    )
