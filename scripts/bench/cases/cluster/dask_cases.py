"""A Dask client's work, timed: `dask_cases.py SCHEDULER WORKERS`; a scheduler `-` is that of the settings.

It prints seconds by case, as JSON. Each case has run once before, so that nothing is imported or connected in it.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client


def part(number: int) -> Any:
    draw = np.random.default_rng(number)
    return pd.DataFrame({"k": draw.integers(0, 1000, 250_000), "v": draw.random(250_000)})


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


def seconds(work: Callable[[], Any]) -> float:
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


address, workers = sys.argv[1:]
client = Client() if address == "-" else Client(address)
client.wait_for_workers(int(workers))
array = da.random.default_rng(1).random((8000, 8000), chunks=(1000, 1000))
held = array.persist()
frame = dd.from_map(part, range(8), meta=part(0).iloc[:0])
counter = client.submit(Counter, actor=True).result()
block = b"x" * 50_000_000
print(
    json.dumps(
        {
            "sum of an array": seconds(lambda: float(array.sum().compute())),
            "transpose and add": seconds(lambda: float((held + held.T).sum().compute())),
            "group by": seconds(lambda: float(frame.groupby("k").v.sum().compute().sum())),
            "shuffle": seconds(lambda: len(frame.shuffle("k", npartitions=8).compute())),
            "300 calls of an actor": seconds(lambda: [counter.add().result() for _ in range(300)][-1]),
            "1,000 tasks": seconds(lambda: sum(client.gather(client.map(lambda n: n + 1, range(1000), pure=False)))),
            "50 MB scattered and fetched": seconds(
                lambda: len(client.submit(lambda b: b, client.scatter(block, hash=False), pure=False).result())
            ),
        }
    )
)
