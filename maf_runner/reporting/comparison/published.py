"""Published figures, shipped with the package: the paper's tables (arXiv v4), its successors'."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

MODELS = (
    "Gaussian",
    "MADE",
    "MADE MoG",
    "Real NVP (5)",
    "Real NVP (10)",
    "MAF (5)",
    "MAF (10)",
    "MAF MoG (5)",
)
NATS, BITS = "loglik_nats", "bits_per_pixel"
TWO_ERRORS = "2 s.e. over test rows"


@dataclass(frozen=True)
class Figure:
    """A value and the half-width of its error bar (two standard errors), in the same unit.

    The mean of a single row has no error.
    """

    value: float
    error: float | None


@dataclass(frozen=True)
class Result:
    """A figure of the literature since, and what its error bar means."""

    by: str  # "published", or "re-run" by others
    dataset: str
    model: str
    metric: str
    value: float
    error: float | None
    error_is: str
    exact: bool  # a likelihood; False: an estimate or a bound of it
    source: str


@cache
def figures(metric: str = NATS) -> dict[tuple[str, bool, str], Figure]:
    """Published figures by (dataset, given the class?, model).

    >>> figures()["mnist", False, "MADE"]
    Figure(value=-1380.8, error=4.8)
    """
    return {
        (row["dataset"], row["conditioning"] == "class", row["model"]): Figure(
            float(row["value"]), float(row["error"])
        )
        for row in _rows("published.csv")
        if row["metric"] == metric
    }


@cache
def successors() -> tuple[Result, ...]:
    """Results without class labels on the paper's datasets, by others and since.

    >>> successors()[0].model, successors()[0].error_is
    ('NAF-DDSF (5)', 'spread over runs')
    """
    return tuple(
        Result(
            row["by"],
            row["dataset"],
            row["model"],
            row["metric"],
            float(row["value"]),
            float(row["error"]) if row["error"] else None,
            row["error_is"],
            row["likelihood"] == "exact",
            row["source"],
        )
        for row in _rows("leaderboard.csv")
        if row["conditioning"] == "none"
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = files("maf_runner.reporting.comparison").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
