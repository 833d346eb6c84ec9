"""A volunteer: what it offers, to whom, and each job at work here.

Its face is `Volunteering`: cores, the waiting line, what is left of jobs; and `OwnerSearch` for a peer that cannot be
dialled, `refusals` for one that is no volunteer. A `job_session` is one job of one owner, with its `slots`, and its
`reports` to the owner. Knows nothing of `p2p.compute.owner`.
"""
