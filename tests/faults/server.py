"""A process with torch and Hydra loaded, whose children carry out commands: they start at once.

A child does all that the installed command does, from its ``main`` on. A fault is made in it at
a moment (``after`` so many seconds) or at a file operation (``at`` the n-th of those under the
folder it works in: files opened for writing, renamed, removed or synced, folders made):

    {"words": ["maf-run", "model=made"], "cwd": "...", "fault": {"signal": 9, "after": 0.3}}
    {"words": ["maf-run", "model=made"], "cwd": "...", "fault": {"errno": 28, "at": 7}}
    {"words": ["maf-run", "model=made"], "cwd": "...", "fault": {"disk": 100, "left": "..."}}

The last works on a disk of 100 kB, and leaves a copy of what is on it in the end. With a folder
as ``states``, the files as they are before each such operation are kept there, with a list of
those that are not synced. A fault is asked for in one line of JSON, and the answer is another:
{"code", "out", "err", "seconds", "operations"}.
"""

import contextlib
import ctypes
import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from maf_runner.commands import run as cli
from maf_runner.datasets import miniboone
from maf_runner.experiment import run

SMALL = (
    405,
    45,
    50,
)  # rows of the MINIBOONE that the tests write; the true one has 73 times as many
COMMANDS = {"maf-run": "maf_runner.commands.run", "maf-table": "maf_runner.commands.table"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def carry_out(words, cwd, fault, report):
    """In the child: be the command."""
    if "memory" in fault:
        used = (
            int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
        )
        resource.setrlimit(resource.RLIMIT_AS, (used + fault["memory"],) * 2)
    if "disk" in fault:
        mount(cwd, fault["disk"])
    os.chdir(cwd)
    sys.argv = list(words)
    operations = watch(cwd, fault)
    code = 1
    try:
        code = importlib.import_module(COMMANDS[words[0]]).main() or 0
    except SystemExit as leaving:
        code = leaving.code
    finally:
        report.write_text(json.dumps(operations))
        if "disk" in fault:  # nobody else sees it
            shutil.copytree(cwd, fault["left"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def mount(folder, kilobytes):
    """Put a disk of its own under the folder, that only this process sees."""
    assert ctypes.CDLL(None).unshare(0x00020000) == 0  # CLONE_NEWNS
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", folder], check=True
    )


def watch(cwd, fault):
    """Note each operation on a file under ``cwd``, and make the fault when its turn comes."""
    operations: list[list[str]] = []
    synced: set[tuple[int, int, int]] = set()
    busy = False

    def seen(event, arguments):
        if busy:
            return
        if event == "open":
            path, _, flags = arguments
            if not flags & WRITING:
                return
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.truncate", "fsync"):
            path = arguments[0]
        else:
            return
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if not Path(path).is_relative_to(cwd):
            return
        operations.append([event, os.path.relpath(path, cwd)])
        if "states" in fault:
            keep(Path(fault["states"]) / f"{len(operations):03}")
        if len(operations) == fault.get("at"):
            if "signal" in fault:
                os.kill(os.getpid(), fault["signal"])
            else:
                raise OSError(fault["errno"], os.strerror(fault["errno"]), path)

    def keep(place):
        nonlocal busy
        busy = True
        shutil.copytree(cwd, place / "files")
        files = (p for p in cwd.rglob("*") if p.is_file())
        unsynced = [str(p.relative_to(cwd)) for p in files if content_of(p.stat()) not in synced]
        (place / "unsynced.json").write_text(json.dumps(unsynced))
        busy = False

    sync = os.fsync

    def fsync(descriptor):
        sys.audit("fsync", descriptor)
        sync(descriptor)
        synced.add(content_of(os.fstat(descriptor)))

    os.fsync = fsync
    sys.addaudithook(seen)
    return operations


def content_of(state):
    """What tells whether a file has been written to since."""
    return state.st_ino, state.st_size, state.st_mtime_ns


def main():
    torch.set_num_threads(1)
    run.THREADS = 1
    miniboone.PREPARATION = replace(miniboone.PREPARATION, rows=SMALL, means={})
    cli._register_sweeper()  # looks for plugins in every folder of the path
    for line in sys.stdin:
        asked = json.loads(line)
        cwd, fault = Path(asked["cwd"]), asked.get("fault") or {}
        streams = [cwd.parent / f"{cwd.name}.{name}" for name in ("out", "err", "operations")]
        started = time.monotonic()
        child = os.fork()
        if not child:
            for number, stream in zip((1, 2), streams, strict=False):
                os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            streams[2].unlink(missing_ok=True)
            carry_out(asked["words"], cwd, fault, streams[2])
        if "after" in fault:
            time.sleep(fault["after"])
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, fault["signal"])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = {"code": code, "seconds": time.monotonic() - started}
        answer |= {"out": streams[0].read_text(), "err": streams[1].read_text()}
        whole = streams[2].exists()
        answer["operations"] = json.loads(streams[2].read_text()) if whole else []
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # of the children; the tests end this by its pipe
    main()
