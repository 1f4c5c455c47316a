"""Commands of the package: as installed, or in a child of a process that has all loaded."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float = 0.0
    operations: tuple = ()


def installed(*words, cwd, env=None, check=None, timeout=300):
    """Carry out an installed command; ``env`` adds to the environment."""
    script, *arguments = map(str, words)
    result = subprocess.run(
        [BIN / script, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return checked(Done(result.returncode, result.stdout, result.stderr), check)


def checked(done, check):
    """``done``, if ``check`` is None or the exit code it has."""
    assert check in (None, done.returncode), done.stdout + done.stderr
    return done


class Server:
    """Carries out commands as the installed ones would, but starts them at once: see `server`."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, **asked):
        """One request, and its answer."""
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __call__(self, *words, cwd, env=None, check=None, **more):
        """Carry out a command; ``env`` adds to the environment."""
        return checked(_done(self.ask(**_request(words, cwd, env), **more)), check)

    def begin(self, *words, cwd, env=None):
        """Start a command, and go on."""
        return Begun(self, self.ask(**_request(words, cwd, env), begin=True)["pid"])

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Begun:
    """A command that a `Server` has started."""

    def __init__(self, server, pid):
        self.server, self.pid, self.done = server, pid, None

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self):
        """How it ended, once it has."""
        self.done = self.done or _done(self.server.ask(wait=self.pid))
        return self.done

    def kill(self):
        """End it, and wait."""
        if self.done is None:
            self.send_signal(signal.SIGKILL)
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()


def _request(words, cwd, env):
    environment = {**os.environ, **(env or {})}
    return {"words": list(map(str, words)), "cwd": str(cwd), "env": environment}


def _done(answer):
    out, err = answer["out"], answer["err"]
    return Done(answer["code"], out, err, answer["seconds"], answer["operations"])
