"""Check the program on a machine with a CUDA GPU, within minutes: run it where there is one.

    python scripts/check_gpu.py --raw DIR --out DIR

Sections, each with the most seconds it gets of eight minutes:

{sections}

The last of those asked for gets all the time that is left. A section is a process of its own: one
that fails, hangs or loses the GPU costs the others nothing, and what it had found by then is kept.
After every addition OUT/gpu.json is replaced; OUT/summary.md says the same in words, and
OUT/records/ has the records and learning curves of the runs. zuko and nflows are timed where they
are installed (extra ``bench``); POWER and MNIST need their raw files.

Exit code: 0 nothing is wrong (what was left out for lack of time is named), 1 something is, 2 no
GPU. On a machine without one, ``--device cpu --small`` tries the script itself.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu.section import ROOT, OutOfTimeError, Place, Report

from maf_runner.system import atomic


@dataclass(frozen=True)
class Section:
    """A section: its function, what it does, and the seconds it may take and needs at least."""

    function: str
    about: str
    most: int
    least: int


SECTIONS = {
    "agreement": Section(
        "agreement.main", "gradients, 200 updates and samples of every model as on the CPU", 80, 15
    ),
    "tests": Section("tests.main", "the tests with the mark gpu", 60, 15),
    "moves": Section("moves.main", "a run that goes from the GPU to the CPU and back", 75, 30),
    "faults": Section("faults.main", "a GPU that is nearly full, and one that two share", 80, 20),
    "power": Section("training.power", "MAF (5) on POWER for three epochs", 60, 30),
    "mnist": Section("training.mnist", "MAF (5) on MNIST to the end of its training", 190, 60),
    "times": Section(
        "times.main", "an update by each engine, zuko and nflows, at five sizes", 150, 40
    ),
}
FULL = 8  # minutes, for which the seconds above are meant
SUMMARY, FIGURES = "summary.md", "gpu.json"


def main(argv: list[str] | None = None) -> int:
    """Carry out the sections one after another, and write what they find."""
    options = parsed(argv)
    if options.child:
        return carry_out(options)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the section's process too
    if options.device == "cuda" and not has_gpu():
        print(
            "check_gpu: torch sees no CUDA GPU here; --device cpu --small tries the script itself",
            file=sys.stderr,
        )
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {"machine": machine(options), "sections": {}}
    work = Path(tempfile.mkdtemp(prefix="check_gpu-"))
    try:
        for name in options.sections:
            left = started + 60 * options.minutes - time.monotonic()
            section = kept["sections"][name] = {"status": "begun", "seconds": 0.0}
            if seconds := share(name, left, options):
                print(f"{name}: {SECTIONS[name].about} ...", flush=True)
                watch(name, seconds, options, work, kept)
            else:
                section |= {"status": "skipped", "left out": ["no time left"]}
            write(options.out, kept)
            print(f"{name}: {section['status']}, {section['seconds']:.0f} s", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    kept["seconds"] = time.monotonic() - started
    write(options.out, kept)
    print(summary(kept))
    wrong = [s for s in kept["sections"].values() if s["status"] in ("wrong", "failed")]
    return 1 if wrong else 0


def share(name: str, left: float, options: argparse.Namespace) -> float:
    """The seconds that a section gets of those left; 0 if they are too few for it."""
    chosen = options.sections
    needed = {key: SECTIONS[key].least * (0.1 if options.small else 1) for key in chosen}
    if left < needed[name]:
        return 0.0
    after = chosen[chosen.index(name) + 1 :]
    if not after:
        return left
    most = SECTIONS[name].most * options.minutes / FULL
    spared = left - sum(needed[key] for key in after)  # they get what they need at least
    return max(needed[name], min(most, spared))


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    listed = "\n".join(f"  {name:<10} {s.most:>3} s  {s.about}" for name, s in SECTIONS.items())
    parser = argparse.ArgumentParser(
        description=__doc__.replace("{sections}", listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in SECTIONS]:
            raise argparse.ArgumentTypeError(
                f"there is no section {unknown[0]!r}: {', '.join(SECTIONS)}"
            )
        return [name for name in SECTIONS if name in chosen]

    def minutes(text: str) -> float:
        if not 0 < (value := float(text)) < 1000:
            raise argparse.ArgumentTypeError(f"must be a number of minutes above 0, got {text}")
        return value

    parser.add_argument(
        "--sections", type=names, default=list(SECTIONS), metavar="A,B", help="these alone"
    )
    parser.add_argument(
        "--minutes", type=minutes, default=FULL - 0.5, help="for all (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results/benchmarks/gpu"), help="default %(default)s"
    )
    parser.add_argument("--raw", type=Path, help="raw data, by default MAF_RUNNER_RAW_DIR")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="everything in miniature")
    for hidden in ("--child", "--work", "--ends"):  # given by the script to its own processes
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.raw is not None and not options.raw.is_dir():
        parser.error(f"--raw: there is no folder {options.raw}")
    if options.device == "cpu" and not options.small:
        parser.error("--device cpu is for trying the script: add --small")
    options.out = options.out.absolute()
    return options


def has_gpu() -> bool:
    """Whether torch sees one. Asked in another process: CUDA takes memory where it is used."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures are of."""
    import torch
    from benchmark import processor

    found = {
        "device": options.device,
        "small": options.small,
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        "processor": processor(),
    }
    if options.device == "cuda":
        asked = "name,memory.total,driver_version"
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
            found["gpu"] = said.strip()
        except (OSError, subprocess.TimeoutExpired):
            found["gpu"] = "nvidia-smi does not answer"
    return found


def watch(
    name: str, seconds: float, options: argparse.Namespace, work: Path, kept: dict[str, Any]
) -> None:
    """Carry out a section in a process of its own, and keep what it has found so far."""
    started = time.monotonic()
    words = ["--child", name, "--work", work, "--ends", started + seconds, "--out", options.out]
    words += ["--device", options.device, *(["--small"] if options.small else [])]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    quiet = {"KINETO_LOG_LEVEL": "99"}  # torch's profiler
    environment = {**os.environ, **quiet, "PYTHONPATH": path}
    raw = options.raw or os.environ.get("MAF_RUNNER_RAW_DIR") or ROOT / "data" / "raw"
    environment["MAF_RUNNER_RAW_DIR"] = str(Path(raw).absolute())
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, words)], env=environment, start_new_session=True
    )
    section, before = kept["sections"][name], ""
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            report = Report.read(report_of(work, name))
            section["seconds"] = time.monotonic() - started
            section |= {"found": report.found, "wrong": report.wrong, "left out": report.left_out}
            if process.returncode is not None:
                break
            if section["seconds"] > seconds:
                break
            if before != (before := str(report)):
                write(options.out, kept)
    finally:
        code = process.returncode
        stop(process)
    if code is None:
        section["left out"].append(f"stopped after {seconds:.0f} s")
    elif code != 0:
        section["wrong"].append(f"its process ended with {code}")
    section["status"] = status(section, done=report.done)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a section: its process, and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def status(section: dict[str, Any], *, done: bool) -> str:
    """One word for how a section has ended."""
    if section["wrong"]:
        return "wrong"
    if done and not section["left out"]:
        return "good"
    return "good as far as it came" if section["found"] else "skipped"


def report_of(work: Path, name: str) -> Path:
    """The file of what a section has found."""
    return work / f"{name}.json"


def carry_out(options: argparse.Namespace) -> int:
    """In the process of a section: its function."""
    module, _, function = SECTIONS[options.child].function.partition(".")
    work = Path(options.work)
    report = Report(report_of(work, options.child))
    folder = work / options.child
    folder.mkdir()
    place = Place(options.device, options.small, options.out, folder, float(options.ends))
    if options.small:
        import torch

        torch.set_num_threads(1)
    try:
        getattr(import_module(f"gpu.{module}"), function)(place, report)
    except OutOfTimeError as error:
        report.leave_out(str(error))
    report.done = True
    report.write()
    return 0


def write(out: Path, kept: dict[str, Any]) -> None:
    """Replace the figures and the summary."""
    atomic.write(out / FIGURES, json.dumps(kept, indent=1) + "\n")
    atomic.write(out / SUMMARY, summary(kept) + "\n")


def summary(kept: dict[str, Any]) -> str:
    """All of it, to be read."""
    lines = [f"{key}: {value}" for key, value in kept["machine"].items()]
    for name, section in kept["sections"].items():
        lines += ["", f"## {name}: {section['status']} ({section['seconds']:.0f} s)", ""]
        lines += [f"- WRONG: {text}" for text in section.get("wrong", [])]
        lines += [f"- left out: {text}" for text in section.get("left out", [])]
        for key, value in section.get("found", {}).items():
            if isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()):
                lines += [f"- {key}:", *(f"  - {k}: {in_words(v)}" for k, v in value.items())]
            else:
                lines.append(f"- {key}: {in_words(value)}")
    return "\n".join(lines)


def in_words(value: Any) -> str:
    """A figure, or figures by name, in a line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {in_words(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return "; ".join(in_words(entry) for entry in value)
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
