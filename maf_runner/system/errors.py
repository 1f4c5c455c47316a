"""The errors a user can mend. `commands.run` turns each into an exit code, without a traceback."""


class UsageError(Exception):
    """A setting or an argument that cannot be: exit code 2."""


class UnwritableError(UsageError):
    """A results folder that cannot be written to."""


class OutsideError(UsageError):
    """Code from outside the package raised something; the log of the run has the traceback."""


class DataError(Exception):
    """A file or data missing or damaged: exit code 3.

    The message names the file, where it was looked for, what was expected and how to get it.
    """


class BusyError(Exception):
    """Another process holds this run: exit code 1."""


class ShortageError(Exception):
    """The disk or the memory did not suffice, or a file was gone, half way: exit code 1.

    What had been saved is whole, and the same command goes on from there.
    """


USER_ERRORS = (UsageError, DataError, BusyError, ShortageError)


class Interrupted(BaseException):
    """A signal asked the process to stop; what is needed to go on has been saved.

    Like KeyboardInterrupt it is no Exception, so that no handler of errors swallows it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def extra(name: str) -> str:
    """How to install an extra of this program, which no package index has.

    >>> extra("plot")
    "pip install '.[plot]' in maf_runner's folder"
    """
    return f"pip install '.[{name}]' in maf_runner's folder"


def suggestion(word: str, options: list[str], prefix: str = "") -> str:
    """``; did you mean …?`` for a near miss, else the options there are, each with its prefix.

    The beginning of a name, as that of a column without its unit, is a near miss too.

    >>> suggestion("mfa", ["maf", "made"]), suggestion("wind", ["wind_speed [m/s]", "power [kW]"])
    ("; did you mean 'maf'?", "; did you mean 'wind_speed [m/s]'?")
    >>> suggestion("zzz", ["maf", "made"])
    '; there are: made, maf'
    """
    import difflib

    near = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    if len(word) > 1:
        near += [
            o for o in sorted(options) if o.lower().startswith(word.lower()) and o not in near
        ]
    if near:
        return f"; did you mean {' or '.join(repr(prefix + name) for name in near[:3])}?"
    return f"; there are: {', '.join(prefix + o for o in sorted(options))}" if options else ""
