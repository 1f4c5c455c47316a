"""The checkpoint of a run: all that is needed to continue as if it had not been stopped."""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from maf_runner.system import atomic, reading, shortage

SCHEMA = 1


class DamagedCheckpointError(Exception):
    """A checkpoint that cannot be read, or belongs to another run."""


class Checkpoint:
    """A file of tensors and JSON types. Saving replaces it atomically and keeps the last one.

    Args:
        path: the file; the previous one gets ``previous-`` in front of its name.
        owner: entries that a checkpoint of this run has (run id, fingerprint of the data).
        complain: called with a message for each file that cannot be used, and why.
        guard: called before each saving; it raises where this process may not write any more.
    """

    def __init__(
        self,
        path: Path,
        owner: dict[str, str],
        *,
        complain: Callable[[str], None] = lambda text: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.previous = path.with_name(f"previous-{path.name}")
        self.owner = owner
        self.complain, self.guard = complain, guard

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state``."""
        self.guard()
        if self.path.exists():
            self.path.replace(self.previous)
        save(self.path, {**state, **self.owner})

    def load(self, needed: Iterable[str] = ()) -> dict[str, Any] | None:
        """The latest state that can be read and has all ``needed`` entries; None if there is none.

        If only the previous file can be used, it replaces the newer one. Otherwise the next save
        would overwrite it with the unusable file, and nothing would be left if that save failed.
        """
        for path in (self.path, self.previous):
            if path.exists():
                try:
                    state = load(path, self.owner)
                    lacking = sorted(set(needed) - set(state))
                    if not lacking:
                        if path == self.previous:
                            atomic.put(path, self.path)
                        return state
                    self.complain(f"{path} is passed over: it lacks {', '.join(lacking)}")
                except DamagedCheckpointError as error:
                    self.complain(f"a checkpoint is passed over: {error}")
        if self.path.exists() or self.previous.exists():
            self.complain("no checkpoint can be used: training starts from the beginning")
        return None

    def remove(self) -> None:
        """Remove the file and the previous one."""
        self.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, copied to the CPU, and JSON types to ``path`` atomically."""
    content = {"schema": SCHEMA, **_detached(state)}

    def fill(temporary: Path) -> None:
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides it
                raise error.__context__ from None
            raise

    atomic.write(path, fill)


def load(path: Path, owner: dict[str, str]) -> dict[str, Any]:
    """Read a file that `save` wrote. Tensors come to the CPU; no code from the file is run.

    Raises:
        OSError: it cannot be read now, which says nothing about its content.
        DamagedCheckpointError: unreadable, of another schema, or without the entries of ``owner``.
    """
    try:
        with reading.opened(path) as file:
            _refuse_compressed(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        if (system := reading.out_of_reach(error)) is not None:
            system.filename = str(path)
            raise system from None
        if shortage.is_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpointError(f"{path} cannot be read ({reason[:200]})") from error
    # Compared as text: a damaged file may hold a tensor here, whose == gives a tensor.
    if not isinstance(state, dict) or str(state.get("schema")) != str(SCHEMA):
        raise DamagedCheckpointError(f"{path} is not a checkpoint of schema {SCHEMA}")
    for key, value in owner.items():
        actual = str(state.get(key))
        if actual != value:
            raise DamagedCheckpointError(
                f"{path} belongs to another run: its {key} is {actual[:100]!r}, expected {value!r}"
            )
    return _in_present_layout(state)


def _refuse_compressed(file: BinaryIO) -> None:
    """Refuse an archive with compressed entries: torch writes none, and it may be a bomb."""
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its entries are compressed, as torch never writes them")
    file.seek(0)


def _in_present_layout(content: dict[str, Any]) -> dict[str, Any]:
    """Bring a checkpoint of an earlier version into the layout of today.

    It had the fields of `training.state.State` beside the other entries, and the state of torch's
    generator, which no update uses.
    """
    if "generator" not in content:
        return content
    others = {"schema", "model", "step", "device", "path", "run_id", "fingerprint"}
    state = {key: value for key, value in content.items() if key not in others | {"generator"}}
    return {**{key: content[key] for key in others & set(content)}, "state": state}


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, dict):
        return {key: _detached(entry) for key, entry in value.items()}
    return value
