"""A program that performs one query over a file, and says how long that took without the start of Python:

    python queries.py ENGINE ADDRESS [HOME LINK]
    python queries.py make FILE ROWS
    python queries.py lines FOLDER FILES

ENGINE is pyarrow, pandas, duckdb or row. ADDRESS is a path or `shoal://...`, which is read by the peer of HOME. All but
`row` read two of the six columns: `row` reads one row by its number. `make` writes the file; `lines` writes many small
ones.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAKE = """
    copy (
        select
            range as id,
            (hash(range) % 1000)::int as k,
            (hash(range + 1) % 1000000007) / 1000000007.0::double as x,
            (hash(range + 2) % 1000000007) / 1000000007.0::double as y,
            (hash(range + 3) % 1000000007) / 1000000007.0::double as z,
            'name ' || (hash(range + 4) % 5000) as s
        from range({rows})
    ) to '{file}' (format parquet, compression snappy, row_group_size {group})
"""
GROUPS = 16
LINES_EACH = 5


def main() -> None:
    engine, address, *rest = sys.argv[1:]
    if engine == "make":
        import duckdb

        rows = int(rest[0])
        duckdb.execute(MAKE.format(rows=rows, file=address, group=-(-rows // GROUPS)))
    elif engine == "lines":
        _lines(Path(address), int(rest[0]))
    else:
        query = _query(engine, address, *rest)
        started = time.perf_counter()
        answer = query()
        print(json.dumps({"seconds": time.perf_counter() - started, "answer": answer}))


def _query(engine: str, address: str, home: str = "", link: str = "") -> Callable[[], Any]:
    """Imports the engine, and makes the query."""
    given = {"home": home, "link": link} if home else {}
    system = None
    if home:
        import fsspec

        system = fsspec.filesystem("shoal", **given)
    path = address.removeprefix("shoal://")
    match engine:
        case "pyarrow":
            import pyarrow.compute
            import pyarrow.parquet

            def by_pyarrow() -> float:
                table = pyarrow.parquet.read_table(path, columns=["k", "x"], filesystem=system)
                sums = table.group_by("k").aggregate([("x", "sum")])
                return round(float(pyarrow.compute.sum(sums["x_sum"]).as_py()), 2)

            return by_pyarrow
        case "pandas":
            import pandas

            def by_pandas() -> float:
                table = pandas.read_parquet(address, columns=["k", "x"], storage_options=given or None)
                return round(float(table.groupby("k")["x"].sum().sum()), 2)

            return by_pandas
        case _:
            import duckdb

            if system is not None:
                duckdb.register_filesystem(system)
            wanted = "where id = 1234567" if engine == "row" else ""
            text = f"select round(sum(s), 2) from (select k, sum(x) as s from '{address}' {wanted} group by k)"
            return lambda: duckdb.execute(text).fetchall()[0][0]


def _lines(folder: Path, files: int) -> None:
    chance = random.Random(1)
    folder.mkdir()
    for number in range(files):
        rows = [
            {"id": number * LINES_EACH + line, "k": chance.randrange(100), "x": chance.random()}
            for line in range(LINES_EACH)
        ]
        (folder / f"{number:06}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


if __name__ == "__main__":
    main()
