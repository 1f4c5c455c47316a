"""A whole SLURM on this machine: one node, two partitions, of which one preempts the other."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CPUS = 2
# Jobs in ``low`` make room for those in ``high``, and are queued again.
CONFIGURATION = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=32000
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


def missing():
    """What is not there of all that a SLURM needs, in words; empty if nothing is missing."""
    if os.name != "posix" or os.geteuid() != 0:
        return "not root"
    return ", ".join(name for name in PROGRAMS if found(name) is None)


def found(program):
    """The path of a program; daemons are not on everybody's path."""
    return shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


class Cluster:
    """The SLURM whose configuration lies in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}

    def __call__(self, program, *words):
        """What one of SLURM's programs says."""
        return subprocess.run(
            [found(program), *map(str, words)],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.strip()

    def states(self):
        """The state of each job."""
        lines = self("squeue", "--states=all", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait(self, until, seconds=120):
        """Wait until that is true."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, f"{self.states()}\n{self.said()}"
            time.sleep(0.1)

    def said(self):
        """The last lines of the daemons."""
        logs = [path.read_text(errors="replace") for path in self.folder.glob("*.log")]
        return "\n".join(log[-1500:] for log in logs)

    def processes(self):
        """All processes of this SLURM, jobs and daemons: they have its configuration."""
        mark = f"SLURM_CONF={self.env['SLURM_CONF']}".encode()
        numbers = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    numbers.append(int(path.parent.name))
        return numbers


@contextmanager
def cluster(folder):
    """Inside, there is a SLURM; afterwards no process of it is left."""
    folder.chmod(0o755)  # munge refuses a folder in which others can write
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    controller, node = free_ports(2)
    made = Cluster(folder)
    settings = {"folder": folder, "controller": controller, "node": node, "cpus": CPUS}
    text = CONFIGURATION.format(host=socket.gethostname().partition(".")[0], **settings)
    (folder / "slurm.conf").write_text(text)
    munge = [f"--{kind}={folder}/munge.{kind.partition('-')[0]}"
             for kind in ("key-file", "socket", "pid-file", "seed-file")]  # fmt: skip
    daemons = []
    try:
        # A folder of pytest lies under /tmp, which is why munged has to be told to go on.
        for words in (["munged", "-F", "--force", *munge], ["slurmctld", "-D", "-i"],
                      ["slurmd", "-D"]):  # fmt: skip
            with (folder / f"{words[0]}.log").open("w") as log:
                command = [found(words[0]), *words[1:]]
                env = {**os.environ, **made.env}
                daemons.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
            if words[0] == "munged":
                made.wait((folder / "munge.socket").exists)
        made.wait(lambda: made("sinfo", "--noheader", "--format=%T").startswith("idle"))
        yield made
    finally:
        end(made, daemons)


def end(made, daemons):
    """End the daemons, the last started first, and whatever jobs have left."""
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for number in made.processes():
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def free_ports(count):
    """Numbers of ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
