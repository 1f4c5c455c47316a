"""The table of the configuration's groups: what each is for, and what its settings mean.

A new group, or a setting that does not change the result, is entered here and nowhere else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group of ``conf/``."""

    meaning: str  # for the help
    needed: frozenset[str] = frozenset()  # settings it must have; none: it has no node of its own
    room: str = ""  # where ``_target_`` must lie; "": nothing is built from the group
    given: frozenset[str] = frozenset()  # arguments that the program gives to what is built
    runner: frozenset[str] = frozenset()  # settings for the runner, not for what is built
    scientific: bool = False  # its settings decide the result, and so the run id, except those:
    how: frozenset[str] = frozenset()  # they say how a result is reached, not which
    searched: frozenset[str] = frozenset()  # a search varies them: no departure from the preset


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


GROUPS = {
    "model": Group(
        meaning="the density model",
        needed=_set("name", "conditional"),
        room="maf_runner.flows.",
        given=_set("features", "context"),
        runner=_set("name", "conditional", "size", "paper_rate"),
        scientific=True,
        how=_set("size", "paper_rate"),  # their choice stands in model.hidden, learning_rate
        searched=_set("hidden", "layers", "conditional"),
    ),
    "dataset": Group(
        meaning="the data, their preparation, and the widths searched on them",
        needed=_set("name"),
        room="maf_runner.datasets.",
        given=_set("paths"),
        runner=_set("name", "sizes", "activation", "degrees", "nsf"),
        scientific=True,
        # Their choice stands in model and trainer.
        how=_set("sizes", "activation", "degrees", "nsf", "download"),
    ),
    "trainer": Group(
        meaning="how the model is trained",
        needed=_set("name"),
        room="maf_runner.training.",
        runner=_set("name", "teachers", "drawn_rows"),
        scientific=True,
        how=_set("compile"),  # of old runs; the setting is ``engine`` now
        searched=_set("teachers"),
    ),
    "tracker": Group(
        meaning="where a training run is followed",
        needed=_set("name"),
        room="maf_runner.tracking.",
        given=_set("folder"),
        runner=_set("name"),
    ),
    "experiment": Group(meaning="a cell of the paper's tables"),
    "sweep": Group(meaning="a whole search: maf-run -m +sweep=quick"),
    "launch": Group(meaning="where the jobs of a sweep run: maf-run -m launch=joblib ..."),
    "debug": Group(meaning="checks that last seconds"),
    "paths": Group(
        meaning="where data and results lie",
        needed=_set("results_dir", "raw_dir", "prepared_dir", "mirror"),
    ),
}
FILES = _set("path", "validation", "test")  # settings of a dataset that name files of its rows
BUILT = {name: group for name, group in GROUPS.items() if group.room}
NODES = {name: group for name, group in GROUPS.items() if group.needed}
TOP_LEVEL = {*NODES, "seed", "device", "engine", "threads", "plugins", "force", "retry", "wait"}
