"""A table of one's own, in each format."""

import h5py
import numpy as np
import pandas as pd

from maf_runner.datasets.files import load

DEFAULTS = {
    "columns": None,
    "label": None,
    "class_prior": "uniform",
    "fractions": [0.8, 0.1, 0.1],
    "seed": 0,
    "standardise": True,
    "missing": "refuse",
    "dequantise": [],
}


def table(n=200):
    """Two columns of numbers and one of words."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "height": rng.normal(170, 10, n),
            "weight": rng.normal(70, 5, n),
            "kind": np.where(rng.random(n) < 0.5, "tall", "small"),
        }
    )


def saved(folder, suffix, frame=None):
    """Write a table, or its numbers, in the format of the suffix; returns the path."""
    frame = table() if frame is None else frame
    path = folder / f"table{suffix}"
    numbers = frame.select_dtypes("number").to_numpy()
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".npy":
        np.save(path, numbers)
    elif suffix == ".npz":
        np.savez(path, data=numbers)
    else:
        with h5py.File(path, "w") as store:
            store["data"] = numbers
    return path


def read(path, **changes):
    """Read a table as ``dataset=file`` does, with options other than the defaults."""
    return load(paths=None, path=str(path), **{**DEFAULTS, **changes})
