"""Callables that the run tests search; they live in a file, as a user's would."""

from __future__ import annotations

import os
import time


def sphere(params):
    return {"loss": sum(value**2 for value in params.values()), "size": float(len(params))}


def slow_sphere(params):
    time.sleep(0.005)
    return sphere(params)


def seeded(params, seed):
    return {"loss": params["x"] ** 2, "seed": float(seed)}


def running(params):
    """Reports three running scores, then its metrics."""
    for step in range(1, 4):
        yield -(params["x"] ** 2) / step
    return {"loss": params["x"] ** 2}


def only_scores(params):
    yield 1.0


def nonsense(params):
    kind = int(params["x"])
    return [{"loss": float("nan")}, {"loss": "low"}, 3.0, None, {}, {1: 2.0}, {"loss": 1.0}][kind]


def deadly(params):
    if params["x"] == 3:
        os._exit(7)
    return {"loss": 1.0}


def greedy(params):
    """Writes into what it was given."""
    found = {"loss": params["x"] ** 2}
    params["x"] = 99.0
    params["deep"]["y"].append(1)
    return found


def huge(params):
    return {"loss": 10**400}


def reporting(params):
    """Nine running scores that come nearer to the last."""
    for step in range(1, 10):
        yield -(params["x"] ** 2) - (9 - step) * 0.5
    return {"loss": params["x"] ** 2}


def stuck(params):
    """Never ends right of 2, and catches what it can."""
    while params["x"] > 2.0:
        try:
            time.sleep(0.01)
        except Exception:
            time.sleep(0.01)
    return {"loss": params["x"] ** 2}


def raising(params):
    if params["x"] > 0.0:
        raise ValueError("right of the middle")
    return {"loss": params["x"] ** 2}
