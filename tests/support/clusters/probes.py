"""What programs try inside walls, as text of Python 3.9 and the standard library."""

WRITABLE = """
import os
own = tuple(f"/proc/{name}/" for name in (os.getpid(), "self", "thread-self")) if OWN_TOO is False else ()
for top in ("/proc", "/sys"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = f"{folder}/{name}"
            if path.startswith(own) or "/fd/" in path or "/map_files/" in path:
                continue
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                print(path)
            except OSError:
                pass
print("tried")
"""
"""Prints each file of /proc and /sys that opens for writing, without those of its own process if OWN_TOO is false."""
