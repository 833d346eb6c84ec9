"""Disk access, in functions that block: the home's database and what is in it, indexing, and the files of a fetch.

Callers run these functions in threads. Errors of the operating system are raised as StorageError.
"""
