"""A user's Python environment as a share, so that a cluster's members run the programs of its owner unchanged.

`packing.pack` makes a folder of an environment at its owner: the interpreter, the packages, the libraries that these
are linked with, and a little root with glibc and a shell. `binding.bound` says at a member where what was fetched is to
be seen. All of it is bound at the owner's own paths, so that nothing is relocated.

Knows shares, and nothing of jobs, clusters or sandboxes.
"""
