"""Carry out commands one after another in this process; list what asked for the network in vain.

    python watched.py '[["maf-run", "model=made"], ...]'

prints a JSON list: for each command its exit code, and what it asked for. "import" is the first.
A word with a star is a file or folder there.
"""

import importlib
import json
import sys
from pathlib import Path

COMMANDS = {
    "maf-data": "maf_runner.commands.data",
    "maf-export": "maf_runner.commands.export",
    "maf-plot": "maf_runner.commands.plot",
    "maf-report": "maf_runner.commands.report",
    "maf-run": "maf_runner.commands.run",
    "maf-sample": "maf_runner.commands.sample",
    "maf-score": "maf_runner.commands.score",
    "maf-table": "maf_runner.commands.table",
}
NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname")
asked = []
told = []


def watch(event, arguments):
    """Note, and refuse, what asks for the network: connections, names, ports to listen at."""
    if event.startswith(NETWORK):
        asked.append(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}")
        raise ConnectionRefusedError(f"{event} is not for tests")


def note(name, code):
    """Tell of a command what it asked for."""
    told.append([name, code, list(asked)])
    asked.clear()


def main():
    """Be the commands."""
    sys.addaudithook(watch)
    mains = {name: importlib.import_module(module).main for name, module in COMMANDS.items()}
    importlib.import_module("maf_runner.experiment.run")
    importlib.import_module("maf_runner.tracking.tensorboard")
    note("import", 0)
    for words in json.loads(sys.argv[1]):
        sys.argv = [str(min(Path().glob(word))) if "*" in word else word for word in words]
        try:
            code = mains[words[0]]() or 0
        except SystemExit as leaving:
            code = leaving.code
        note(words[0], code)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
