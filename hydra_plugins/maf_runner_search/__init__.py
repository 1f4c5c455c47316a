"""The sweeper of ``maf-run -m``: a grid, or a search of several grids, checked before it starts.

Hydra takes sweepers from packages under ``hydra_plugins`` only. The settings are in
``conf/hydra/sweeper/search.yaml``.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf, open_dict

from maf_runner.experiment import overrides as our_overrides
from maf_runner.records.jobs import Job
from maf_runner.system.errors import UsageError
from maf_runner.system.text import counted


class Search(BasicSweeper):
    """Hydra's grid sweeper, over one or several grids; every job is checked before the first."""

    def __init__(self, params: dict[str, str], grids: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.grids = grids

    def split_arguments(  # type: ignore[override]  # a static method there
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs, in one batch.

        Raises:
            UsageError: a job with an unknown or impossible setting, or no job at all.
            DataError: a file of the user's that cannot be read.
        """
        given = {o.get_key_element(): _values(o) for o in overrides}
        self.left_out = alike = reworded = 0
        jobs: dict[tuple[str, str], list[str]] = {}
        for grid in self._narrowed(given):
            words = [f"{key}={','.join(values)}" for key, values in (given | grid).items()]
            parsed = OverridesParser.create().parse_overrides(words)
            for words_of_job in BasicSweeper.split_arguments(parsed, None)[0]:
                job = self._fitting(words_of_job, (given | grid).get("dataset", []))
                swept = len((given | grid).get("model.conditional", ())) > 1
                place = self._checked(job, sized="model.size" in grid, conditional=swept)
                if place in jobs:
                    alike += 1
                    reworded += job != jobs[place]
                elif place is not None:
                    jobs[place] = job
        if not jobs:
            raise UsageError("this sweep has no job: nothing in it is as the command line says")
        if self.left_out:
            print(
                f"maf-run: {counted(self.left_out, 'job')} with model.conditional=true left out: "
                "the dataset has no classes",
                file=sys.stderr,
            )
        if alike:
            why = " (a fit in closed form takes no seed and no trainer)" if reworded else ""
            print(
                f"maf-run: {counted(alike, 'job')} left out: the same run as another{why}",
                file=sys.stderr,
            )
        for number, job in enumerate(jobs.values()):
            Job(number, job).write(Path(self.config.hydra.sweep.dir))  # type: ignore[union-attr]
        return [list(jobs.values())]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing more: the jobs were checked when they were listed."""

    def _narrowed(self, given: dict[str, list[str]]) -> list[dict[str, list[str]]]:
        parser = OverridesParser.create()
        grids = [
            {key: _values(parser.parse_override(f"{key}={text}")) for key, text in grid.items()}
            for grid in self.grids or [{}]
        ]
        searched = {key for grid in grids for key in grid} & set(given)
        narrowed = []
        for grid in grids:
            left = grid | {
                key: [v for v in grid.get(key, []) if v in given[key]] for key in searched
            }
            if all(left.values()):
                narrowed.append(left)
        return narrowed

    def _fitting(self, job: list[str], datasets: list[str]) -> list[str]:
        """A job without the settings of other datasets of the sweep that its own does not have."""
        if len(datasets) < 2:
            return job
        own = [word for word in job if word.startswith("dataset=")]
        others = [f"dataset={name}" for name in datasets if f"dataset={name}" not in own]

        def has(dataset: list[str], word: str) -> bool:
            assert self.hydra_context is not None and self.config is not None
            config = self.hydra_context.config_loader.load_sweep_config(self.config, dataset)
            key = word.partition("=")[0].removeprefix("dataset.").split(".")[0]
            return key in set(config.dataset)  # "in" alone is false of a setting without a value

        return [
            word
            for word in job
            if not word.startswith("dataset.")
            or has(own, word)
            or not any(has([other], word) for other in others)
        ]

    def _checked(
        self, job: list[str], *, sized: bool, conditional: bool
    ) -> tuple[str, str] | None:
        """Where the job's run will lie; None if the dataset lacks the size or classes searched."""
        from maf_runner.experiment.settings import check, from_config, has_no_classes
        from maf_runner.records.identity import run_id

        assert self.hydra_context is not None and self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, job)
        HydraConfig.instance().set_config(config)
        try:
            our_overrides.check(config.hydra)
            with open_dict(config):
                del config["hydra"]
            sizes = OmegaConf.select(config, "dataset.sizes") or []
            if sized and int(config.model.size) >= len(sizes):
                return None
            settings = from_config(config)
            if conditional and settings["model"]["conditional"] and has_no_classes(settings):
                self.left_out += 1
                return None
            check(settings)
        except UsageError as error:
            raise UsageError(f"{' '.join(job)}: {error}") from error
        return settings["paths"]["results_dir"], run_id(settings)


def _values(override: Override) -> list[str]:
    """The values an override goes through, as on the command line.

    Raises:
        UsageError: it names no values, but an interval of them.
    """
    if override.is_discrete_sweep():
        return list(override.sweep_string_iterator())
    if override.is_sweep_override():
        raise UsageError(
            f"{override.input_line}: a grid goes through single values, as in a,b,c or "
            "range(1,4); an interval is searched with launch=optuna"
        )
    return [override.get_value_element_as_str()]
