"""The checkpoint of a run: everything needed to go on as if nothing had happened."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maf_runner.system import atomic

SCHEMA = 1


class DamagedCheckpointError(Exception):
    """A checkpoint that cannot be read, or is not this run's."""


class Checkpoint:
    """A file of tensors and JSON types, replaced atomically; the one before is kept beside it.

    Args:
        path: the file; the one before has ``previous-`` in front of its name.
        owner: what the checkpoint must say of itself to be taken (run id, data fingerprint).
        complain: told of each file that was passed over, and why.
    """

    def __init__(
        self,
        path: Path,
        owner: dict[str, str],
        *,
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path = path
        self.previous = path.with_name(f"previous-{path.name}")
        self.owner = owner
        self.complain = complain

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state``."""
        if self.path.exists():
            self.path.replace(self.previous)
        save(self.path, {**state, **self.owner})

    def load(self, needed: Iterable[str] = ()) -> dict[str, Any] | None:
        """The last state that can be read and has all that is ``needed``, or None.

        If that is the one before, its file takes the place of the last one, which else would take
        its place at the next save, and leave nothing if that failed.
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
                    self.complain(f"passed over: {error}")
        if self.path.exists() or self.previous.exists():
            self.complain("no checkpoint can be taken up: training starts anew")
        return None

    def remove(self) -> None:
        """Remove the file and the one before."""
        self.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and JSON types to ``path`` atomically, from the CPU."""
    content = {"schema": SCHEMA, **_detached(state)}

    def fill(temporary: Path) -> None:
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # no room: torch says something else
                raise error.__context__ from None
            raise

    atomic.write(path, fill)


def load(path: Path, owner: dict[str, str]) -> dict[str, Any]:
    """Read what `save` wrote, to the CPU, running no code from the file.

    Raises:
        DamagedCheckpointError: unreadable, of another schema, or not ``owner``'s.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpointError(f"{path} cannot be read ({reason[:200]})") from error
    # As text, for a tensor in its place can be compared with nothing.
    if not isinstance(state, dict) or str(state.get("schema")) != str(SCHEMA):
        raise DamagedCheckpointError(f"{path} is not a checkpoint of schema {SCHEMA}")
    for key, value in owner.items():
        found = str(state.get(key))
        if found != value:
            raise DamagedCheckpointError(
                f"{path} is of another run: its {key} is {found[:100]!r}, expected {value!r}"
            )
    return state


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, dict):
        return {key: _detached(entry) for key, entry in value.items()}
    return value
