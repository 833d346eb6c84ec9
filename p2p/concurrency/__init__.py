"""Small trio tools that know nothing of peers, shares or jobs, so that any package may use them.

`Bell` tells many listeners that something has changed, `Background` is work that is started now and awaited later,
`walls` limits what a failure may stop, `accepting` takes connections from a socket, and `Throttle` limits bytes per
second.
"""
