"""Records made up for the tests: every figure in them is invented."""

import numpy as np

from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Data, Record

WIDTHS = {
    "power": [[100], [100, 100]],
    "gas": [[100], [100, 100]],
    "hepmass": [[512], [512, 512]],
    "miniboone": [[512], [512, 512]],
    "bsds300": [[512], [512, 512], [1024], [1024, 1024]],
    "mnist": [[1024, 1024]],
    "cifar10": [[1024], [1024, 1024], [2048], [2048, 2048]],
}
TABLE1 = ("power", "gas", "hepmass", "miniboone", "bsds300")
TABLE2 = ("mnist", "cifar10")
TRAINED = (
    "MADE", "MADE MoG", "Real NVP (5)", "Real NVP (10)", "MAF (5)", "MAF (10)", "MAF MoG (5)",
)  # fmt: skip
ROWS = 500


def made_up(**changes):
    """A record, as a run leaves it; ``data`` may be a dict."""
    fields = {
        "status": "finished",
        "run_id": "0123456789ab",
        "dataset": "mnist",
        "model": "MADE",
        "conditional": False,
        "seed": 0,
        "settings": {"trainer": {"name": "paper"}, "model": {}, "dataset": {}, "seed": 0},
        "test": {"log_likelihood": -1380.0, "error": 4.0},
        "validation": {"log_likelihood": -1370.0},
        "stop_reason": "patience",
        "data": {"fingerprint": "f", "recipe": "authors"},
    }
    fields |= changes
    return Record(**{**fields, "data": Data(**fields["data"])})


def run(run_id, nats, validation, *, hidden=None, seed=0, **changes):
    """A record of test rows ``nats`` [N]."""
    settings = {
        "trainer": {"name": "paper"},
        "model": {} if hidden is None else {"hidden": hidden},
        "dataset": {},
        "seed": seed,
    }
    test = {
        "log_likelihood": float(nats.mean()),
        "error": float(2 * nats.std() / len(nats) ** 0.5),
        "bits_per_pixel": float(2 - nats.mean() / 1000),
        "bits_per_pixel_error": 0.01,
    }
    return made_up(
        run_id=run_id,
        settings=settings,
        seed=seed,
        test=test,
        validation={"log_likelihood": validation},
        **changes,
    )


def keep(folder, record, nats=None):
    """Write a record, and its test rows, as a run does; returns the record's path."""
    run = RunFolder(folder / "runs" / record.dataset / "model" / record.run_id)
    run.path.mkdir(parents=True)
    record.write(run.record)
    if nats is not None:
        np.save(run.test_nats, nats.astype(np.float32))
    return run.record


def whole_search(folder, rows=lambda dataset: ROWS):
    """The 163 records of the paper's whole search, with test rows.

    In each column a model is better the later it stands in `TRAINED`, and the last of the widths
    is the best on the validation split, by a nat each.
    """
    rng = np.random.default_rng(0)
    count = 0
    for dataset in (*TABLE1, *TABLE2):
        for conditional in (False, True) if dataset in TABLE2 else (False,):
            common = rng.normal(size=rows(dataset))
            searched = [(m, h) for m in TRAINED for h in WIDTHS[dataset]]
            for model, hidden in [("Gaussian", None), *searched]:
                rank = TRAINED.index(model) if hidden else -1
                size = WIDTHS[dataset].index(hidden) if hidden else 0
                nats = common + rank - 0.1 * size + 0.01 * rng.normal(size=len(common))
                record = run(
                    f"{count:012x}",
                    nats,
                    rank + size,
                    hidden=hidden,
                    dataset=dataset,
                    model=model,
                    conditional=conditional,
                )
                keep(folder, record, nats)
                count += 1
    return count
