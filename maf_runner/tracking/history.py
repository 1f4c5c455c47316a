"""The learning curve as a CSV file."""

import csv
import io
from pathlib import Path

from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Record
from maf_runner.system import atomic
from maf_runner.training.state import State


class History:
    """Writes ``history.csv``, one line for each validation; every tracker does.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)

    def validated(self, state: State) -> None:
        """Note one more validation, the last entry of ``state.history``."""
        text = io.StringIO()
        writer = csv.DictWriter(text, state.history[-1], lineterminator="\n")
        writer.writeheader()
        writer.writerows(state.history)  # lines of an earlier version may lack a column
        atomic.write(self.folder.history, text.getvalue())

    def recorded(self, record: Record) -> None:
        """Note the result; the record, and pictures if there are any, lie in the folder."""

    def close(self) -> None:
        """The run is over, or stopped."""
