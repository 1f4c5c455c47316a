"""A process with torch and Hydra loaded, whose children carry out commands: they start at once.

A child does all that the installed command does, from its ``main`` on, in an environment and a
folder of its own. It is asked for in one line of JSON, and the answer is another:

    {"words": ["maf-run", "model=made"], "cwd": "...", "env": {...}}
    {"code": 0, "out": "...", "err": "...", "seconds": 0.5, "operations": [...]}

``["python", "-c", CODE, ...]`` carries out a program instead of a command. With ``"small": true``
the child takes the small MINIBOONE that the tests of faults write. With ``"begin": true`` the
answer is {"pid": N} as soon as the child has begun, and {"wait": N} gives the other one.

A fault is made in the child at a moment (``after`` so many seconds) or at a file operation (``at``
the n-th of those under the folder it works in: files opened for writing, renamed, removed or
synced, folders made). With ``"fault": {}`` these operations are listed and none fails:

    "fault": {"signal": 9, "after": 0.3}
    "fault": {"errno": 28, "at": 7}
    "fault": {"disk": 100, "left": "..."}

The last works on a disk of 100 kB, and leaves a copy of what is on it in the end. With a folder
as ``states``, the files as they are before each such operation are kept there, with a list of
those that are not synced.
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
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch

from maf_runner.commands import run as cli
from maf_runner.datasets import miniboone
from maf_runner.experiment import prepare

SMALL = (405, 45, 50)  # rows of the MINIBOONE that the tests write, 73 times fewer than the true
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
AHEAD = ("pandas", "scipy.special", "h5py", "PIL.Image", "matplotlib.pyplot")  # where installed
SECONDS = 600  # after which SIGALRM ends a child


def carry_out(asked, report):
    """In the child: be the command."""
    words, cwd, fault = asked["words"], Path(asked["cwd"]), asked.get("fault", {})
    signal.alarm(SECONDS)
    if asked.get("env") is not None:
        os.environ.clear()
        os.environ.update(asked["env"])
    if asked.get("small"):
        miniboone.PREPARATION = replace(miniboone.PREPARATION, rows=SMALL, means={})
    if "memory" in fault:
        status = Path("/proc/self/status").read_text()
        used = int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) << 10
        resource.setrlimit(resource.RLIMIT_AS, (used + fault["memory"],) * 2)
    if "disk" in fault:
        mount(cwd, fault["disk"])
    os.chdir(cwd)
    operations = watch(cwd, fault) if "fault" in asked else []
    code = 1
    try:
        code = main_of(words)() or 0
    except SystemExit as leaving:
        code = leaving.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        report.write_text(json.dumps(operations))
        if "disk" in fault:  # nobody else sees it
            shutil.copytree(cwd, fault["left"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def main_of(words):
    """What an installed command, or ``python -c``, carries out."""
    if words[:2] == ["python", "-c"]:
        sys.argv = ["-c", *words[3:]]
        return lambda: exec(compile(words[2], "<string>", "exec"), {"__name__": "__main__"})
    sys.argv = list(words)
    return importlib.import_module(f"maf_runner.commands.{words[0].removeprefix('maf-')}").main


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


def begun(asked, folder):
    """Start a child; its process id."""
    child = os.fork()
    if not child:
        streams = [folder / f"{os.getpid()}.{name}" for name in ("out", "err", "operations")]
        for number, stream in zip((1, 2), streams, strict=False):
            os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        carry_out(asked, streams[2])
    return child


def ended(child, started, folder):
    """Wait for a child; what it has to say."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    answer = {"code": code, "seconds": time.monotonic() - started}
    for name in ("out", "err", "operations"):
        path = folder / f"{child}.{name}"
        answer[name] = path.read_text(errors="replace") if path.exists() else "[]"
        path.unlink(missing_ok=True)
    return answer | {"operations": json.loads(answer["operations"])}


def main():
    torch.set_num_threads(1)
    prepare.THREADS = 1
    cli._register_plugins()  # looks for plugins in every folder of the path
    for module in AHEAD:
        with contextlib.suppress(ImportError):  # pictures are an extra
            importlib.import_module(module)
    started: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for line in sys.stdin:
            asked = json.loads(line)
            child = asked.get("wait") or begun(asked, folder)
            started.setdefault(child, time.monotonic())
            if asked.get("begin"):
                answer = {"pid": child}
            else:
                fault = asked.get("fault", {})
                if "after" in fault:
                    time.sleep(fault["after"])
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, fault["signal"])
                answer = ended(child, started.pop(child), folder)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # of the children; the tests end this by its pipe
    main()
