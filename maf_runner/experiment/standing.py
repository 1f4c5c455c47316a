"""Is there a record of this run already, and may it be used?"""

import logging

from maf_runner.experiment.prepare import Experiment
from maf_runner.records.record import Record, UnreadableRecordError
from maf_runner.system import reading
from maf_runner.training import Checkpoint

log = logging.getLogger("maf_runner")


def existing(experiment: Experiment) -> Record | None:
    """The record in the run's folder if it is of this very run, on these very data.

    Raises:
        OSError: it cannot be read now.
    """
    try:
        record = Record.read(experiment.folder.record)
    except UnreadableRecordError as error:
        if (system := reading.out_of_reach(error)) is not None:
            system.filename = str(experiment.folder.record)
            raise system from None
        return None
    same_run = record.run_id == experiment.record.run_id
    same_data = record.data.fingerprint == experiment.record.data.fingerprint
    return record if same_run and same_data else None


def usable(experiment: Experiment) -> Record | None:
    """The record that makes training needless; None if the run is to be trained.

    A record of another run or of other data is put aside. ``force`` removes any record and what
    belongs to it, ``retry`` removes the record of a run that has not finished.
    """
    folder, settings = experiment.folder, experiment.settings
    if not folder.record.exists():
        return None
    record = existing(experiment)
    if record is None:
        aside = folder.put_record_aside()
        log.warning(
            "the record in this folder is damaged, or of another run or other data: "
            "it is renamed to %s, training anew",
            aside.name,
        )
        return None
    if settings["force"]:
        folder.clear()
        return None
    if settings["retry"] and not record.finished:
        folder.record.unlink()
        return None
    if record.status != "failed":
        Checkpoint(folder.last, {}).remove()  # a kill may have come between record and removal
    log.info("already there: %s", record.describe())
    return record
