"""Curves, settings, results and pictures for MLflow."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from maf_runner.records.record import Record
from maf_runner.system.errors import UsageError, extra
from maf_runner.tracking.service import Service

RUN = "maf_runner.run"  # the tag by which a run that goes on is found
LONGEST = 500  # characters of a setting, which all versions of MLflow take


class MLflow(Service):
    """Writes to an MLflow server, or to ``mlflow/`` beside the runs, which ``mlflow ui`` shows.

    Args:
        folder: the run folder.
        uri: of the server, or of a database such as ``sqlite:///mlflow.db``; None:
            MLFLOW_TRACKING_URI, else a database in ``mlflow/`` beside ``runs/``.
        experiment: the name of the experiment in MLflow.

    Raises:
        UsageError: mlflow is not installed.
    """

    name = "MLflow"

    def __init__(self, folder: Path, uri: str | None, experiment: str) -> None:
        super().__init__(folder)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UsageError(f"tracker=mlflow needs mlflow: {extra('mlflow')}") from error
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it says how it makes its tables
        self._open = MlflowClient
        self._experiment = experiment
        self._uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._client: Any = None
        self._run = ""

    def begin(self, *, fresh: bool) -> None:
        """Open the run, or that of an earlier session."""
        place = None
        if self._uri is None:
            own = self.folder.path.absolute().parents[3] / "mlflow"
            own.mkdir(parents=True, exist_ok=True)
            self._uri, place = f"sqlite:///{own / 'mlflow.db'}", (own / "artifacts").as_uri()
        self._client = self._open(self._uri)
        known = self._client.get_experiment_by_name(self._experiment)
        experiment = (
            known.experiment_id
            if known
            else self._client.create_experiment(self._experiment, artifact_location=place)
        )
        if not fresh:
            of_this = f"tags.`{RUN}` = '{self.title}'"
            runs = self._client.search_runs([experiment], of_this, max_results=1)
            if runs:
                self._run = runs[0].info.run_id
                self._client.update_run(self._run, status="RUNNING")
                return
        tags = {RUN: self.title}
        run = self._client.create_run(experiment, run_name=self.title, tags=tags)
        self._run = run.info.run_id
        for name, value in self.settings().items():
            self._client.log_param(self._run, name, str(value)[:LONGEST])

    def curve(self, values: dict[str, float], epoch: int) -> None:
        """Log one point of each curve."""
        now = int(1000 * time.time())
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, timestamp=now, step=epoch)

    def result(self, values: dict[str, float], record: Record) -> None:
        """Log the figures, the record and the picture of the density."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value)
        self._client.set_tag(self._run, "status", record.status)
        for file in (self.folder.record, self.folder.density):
            if file.exists():
                self._client.log_artifact(self._run, str(file))
        self._client.set_terminated(self._run, "FINISHED" if record.finished else "FAILED")
        self._run = ""

    def end(self) -> None:
        """Say that a run without result was stopped."""
        if self._run:
            self._client.set_terminated(self._run, "KILLED")
