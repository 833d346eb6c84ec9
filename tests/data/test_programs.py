"""Programs that read data read a share from another peer, as docs/data.md says: all in one process of their own."""

import subprocess
import sys
from pathlib import Path

from tests.client.two_peers import Shared

PROGRAM = """
import sys, warnings

import dask.dataframe
import duckdb
import fsspec
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet
import upath
import zarr

import p2p

owner, reader, folder = sys.argv[1:]
ROWS = 200_000
table = pandas.DataFrame({name: range(ROWS) for name in "abcdefgh"})
table.to_parquet(f"{folder}/table.parquet", row_group_size=20_000)
array = zarr.create_array(f"{folder}/array.zarr", shape=(40, 40), chunks=(10, 10), dtype="int32")
array[:] = 7
table.head(10).to_csv(f"{folder}/a[1] é.csv", index=False)

shared = p2p.Peer(owner).share(folder)
fetcher = p2p.Peer(reader)
given = {"home": reader, "link": shared.link}
root, address = shared.id, f"shoal://{shared.id}/table.parquet"
system = fsspec.filesystem("shoal", **given)
total = sum(range(ROWS))


def fetched():
    return fetcher.status().downloaded


before = fetched()
assert pandas.read_parquet(address, columns=["c"], storage_options=given)["c"].sum() == total
size = system.info(address)["size"]
assert fetched() - before < size / 2, (fetched() - before, size)
assert len(pandas.read_csv(f"shoal://{root}/a%5B1%5D é.csv", storage_options=given)) == 10

dataset = pyarrow.dataset.dataset(f"{root}/table.parquet", filesystem=system)
assert dataset.to_table(columns=["d"]).column("d").to_numpy().sum() == total
assert pyarrow.parquet.read_table(f"{root}/table.parquet", columns=["d"], filesystem=system).num_rows == ROWS

duckdb.register_filesystem(system)
assert duckdb.sql(f"select sum(e) from '{address}'").fetchall() == [(total,)]
assert duckdb.sql(f"select count(*) from 'shoal://{root}/*.csv'").fetchall() == [(10,)]

assert polars.scan_pyarrow_dataset(dataset).select(polars.col("f").sum()).collect().item() == total
with system.open(address) as file:
    assert polars.read_parquet(file, columns=["f"], use_pyarrow=True)["f"].sum() == total
    assert file.cache.total_requested_bytes < size / 2
with system.open(address) as file:
    assert polars.read_parquet(file)["g"].sum() == total

assert dask.dataframe.read_parquet(address, columns=["h"], storage_options=given)["h"].sum().compute() == total

assert zarr.open_array(f"shoal://{root}/array.zarr", mode="r", storage_options=given)[5, 5] == 7

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it knows of no file system by name that is not its own
    path = upath.UPath(f"shoal://{root}", **given) / "a%5B1%5D é.csv"
assert path.read_text().startswith("a,b,c")
assert path in list(path.parent.iterdir())
print("read")
"""


def test_programs_read_a_share_from_another_peer(shared: Shared, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    arguments = [str(shared.owner.home), str(shared.reader.home), str(folder)]
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert ended.stdout == "read\n", ended.stderr
