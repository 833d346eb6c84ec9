"""Small trio tools that know nothing of peers, shares or jobs, so that any package may use them.

`Bell` tells many listeners that something has changed, `Background` is work that is started now and awaited later,
`supervision` limits what a failing disk may stop, and `Throttle` limits bytes per second.
"""
