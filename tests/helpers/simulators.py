"""Simulators whose conditional densities are known."""

import math

import numpy as np
import pandas as pd

NOISE = np.array([[1.0, 0.0], [0.5, 0.8]])  # Cholesky factor of the noise of `linear`
SITES = {"north": 0.0, "south": 1.0, "NA": 2.0}


def linear(n, seed=0):
    """y1 and y2, Gaussian with a mean linear in rpm, load and the site."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "rpm": rng.uniform(1000, 2000, n),
            "load": rng.normal(0.5, 0.1, n),
            "site": rng.choice(list(SITES), n),
        }
    )
    y = linear_mean(frame) + rng.normal(size=(n, 2)) @ NOISE.T
    return pd.DataFrame({"y1": y[:, 0], "y2": y[:, 1]}).join(frame)


def linear_mean(frame):
    """The mean of (y1, y2) in each row."""
    site = frame.site.map(SITES).to_numpy()
    return np.column_stack([0.01 * frame.rpm + 3 * frame.load, site - 2 * frame.load])


def linear_log_prob(frame):
    """The true log p(y1, y2 | rpm, load, site) of each row, nats."""
    noise = np.linalg.solve(NOISE, (frame[["y1", "y2"]].to_numpy() - linear_mean(frame)).T)
    log_det = np.log(np.diag(NOISE)).sum()
    return -0.5 * (noise**2).sum(axis=0) - math.log(2 * math.pi) - log_det
