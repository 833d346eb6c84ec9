"""What a job file imports: `from p2p.jobs import Inputs`.

A job is a function `job(inputs, **args)` that divides its work into operations and actions; the same file runs in every
guest that takes part, so lambdas and closures are never sent. This package travels with the job, so it imports only the
standard library of CPython 3.11 to 3.15, and nothing else of Shoal.

Rules of a job file: decide only from arguments, inputs and the results of actions; keep no state between calls; take
random numbers from `rng()`; records are None, bool, int, float, str, bytes and tuples, lists, dicts and sets of these.
"""

from p2p.jobs.chance import rng
from p2p.jobs.dataset import Dataset, Inputs

__all__ = ["Dataset", "Inputs", "rng"]
