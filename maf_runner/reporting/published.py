"""The figures of the paper's tables (arXiv v4), shipped with the package."""

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


@dataclass(frozen=True)
class Figure:
    """A value and the half-width of its error bar (two standard errors), in the same unit."""

    value: float
    error: float


@cache
def figures(metric: str = "loglik_nats") -> dict[tuple[str, bool, str], Figure]:
    """Published figures by (dataset, given the class?, model).

    >>> figures()["mnist", False, "MADE"]
    Figure(value=-1380.8, error=4.8)
    """
    text = files("maf_runner.reporting").joinpath("published.csv").read_text(encoding="utf-8")
    return {
        (row["dataset"], row["conditioning"] == "class", row["model"]): Figure(
            float(row["value"]), float(row["error"])
        )
        for row in csv.DictReader(text.splitlines())
        if row["metric"] == metric
    }
