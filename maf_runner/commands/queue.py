"""What became of the jobs in a SLURM queue, also where SLURM keeps no accounting.

submitit asks ``sacct``. Where that fails, it warns at every look, on standard output too, and
waits for ever for a job that was cancelled. Here ``squeue`` is asked then, and that is said once.
"""

import subprocess
import sys
import time

from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

EVERY = 60  # seconds between two looks, at most
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL",
         "OUT_OF_MEMORY", "TIMEOUT"}  # fmt: skip
GONE = {"State": "COMPLETED"}  # SLURM forgets a job some minutes after its end


class Watcher(SlurmInfoWatcher):
    """Asks ``sacct``, and ``squeue`` where that fails."""

    def __init__(self) -> None:
        super().__init__(delay_s=EVERY)
        self._said = False

    def update(self) -> None:
        """Look at all jobs that have not ended yet."""
        command = self._make_command()
        if command is None:
            return
        self._num_calls += 1
        asked = subprocess.run(command, capture_output=True, text=True)
        if asked.returncode == 0:
            self._info_dict.update(self.read_info(asked.stdout))
        else:
            self._say_once(asked.stderr)
            self._ask_the_queue()
        self._last_status_check = time.time()
        self._finished |= {job for job in self._registered if self.is_done(job, mode="cache")}

    def _say_once(self, why: str) -> None:
        if not self._said:
            reason = (why.strip() or "it fails").splitlines()[0]
            print(f"maf-run: sacct: {reason}; squeue is asked for the jobs", file=sys.stderr)
        self._said = True

    def _ask_the_queue(self) -> None:
        command = ["squeue", "--states=all", "--noheader", "--format=%i|%T|%N"]
        asked = subprocess.run(command, capture_output=True, text=True)
        if asked.returncode != 0:
            return
        listed = self.read_info(f"JobID|State|NodeList\n{asked.stdout}")
        for job, info in listed.items():
            known = info["State"] in ENDED
            self._info_dict[job] = info if known else {**info, "State": "RUNNING"}
        gone = self._registered & set(self._info_dict) - set(listed)
        self._info_dict.update(dict.fromkeys(gone, GONE))


def watch() -> None:
    """Let submitit look at its jobs so, in this process."""
    SlurmJob.watcher = Watcher()
