"""Shares over HTTP: files by path and by ranges, listings of folders, and the newest version of a name.

    application  which address leads where, and what is answered when something is wrong
    shelf        shares that are open, and remain so for a while
    files        one file: ranges, conditions, the body
    memory       what all answers may hold while they are sent
    listings     one folder, as JSON or as a page
    going        clients that go away before their answer
    addresses, ranges, conditions, kinds    decisions about requests, without IO

It reads shares through `p2p.sharing.reading`, and fetches nothing itself.
"""
