"""A volunteer: what it offers, to whom, and each job at work here.

`volunteering` is its face: cores, the waiting line, what is left of jobs. A `job_session` is one job of one owner, with
its `slots`, and its `reports` to the owner. Knows nothing of `p2p.compute.owner`.
"""
