"""A job at its owner, from what the user asked for to the result.

Its face is `Jobs`, which begins, resumes and cancels jobs; `setup` prepares one, and `run` runs it, action by action:
the `planner` says what is to be done, the `driver` carries out what `p2p.core.compute.job` decides. The `recruiter`
finds volunteers and the `employer` talks to each of them over a `volunteer_session`; `dispatch` and `shuffle` say what
units read, `results` takes in what they made, `outputs` keeps it. Knows nothing of `p2p.compute.volunteer`.
"""
