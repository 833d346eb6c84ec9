"""Small trio tools that all layers use. They know nothing of peers, shares or jobs.

`Bell` tells many listeners that something has changed, `Background` is a task that is started now and awaited later,
`supervision` limits what a failing disk may stop, and `Throttle` limits bytes per second.
"""
