"""Small trio tools for every layer above; they know nothing of peers, shares or jobs.

`Bell` tells many listeners that something has changed, `Background` is a task begun now and awaited later,
`supervision` bounds what a failing disk may end, and `Throttle` limits bytes per second.
"""
