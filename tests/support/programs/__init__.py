"""Programs that tests start as processes of their own.

* `fetch_writer`: a fetch that writes its chunks, to be killed.
* `journal_writer`: an owner that keeps its journal, to be killed.
* `lan_listener`: a listener on the local network.
"""
