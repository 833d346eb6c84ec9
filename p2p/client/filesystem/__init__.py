"""Shares as a file system for programs that read data: pandas, pyarrow, DuckDB, Dask, and all else that knows fsspec.

    system       `ShoalFileSystem`, which fsspec finds by the entry point of the package
    file         one file that is read, and how far ahead of the reader
    addresses    `shoal://` addresses, and the paths that fsspec makes of them
    connections  HTTP on the control socket of a home

Everything is synchronous: fsspec's users call from threads of their own. Only `system` and `file` import fsspec, which
is in an extra.
"""
