"""SQL over files in shares, by DuckDB, in the process that asks: what strangers wrote is never parsed in the daemon.

    literals  links in a query, which become addresses of the file system
    engine    DuckDB behind its wall: which files a query may read and write
    results   what a query answers, as text or as a file

Only `engine` imports DuckDB, which is in an extra.
"""
