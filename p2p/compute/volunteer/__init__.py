"""A volunteer: what it offers, to whom, and each job that is at work on it.

The package's interface is `Volunteering` (cores, the waiting line, what is left of jobs), `OwnerSearch` for a peer that
cannot be dialled, and `refusals` for a peer that is no volunteer. A `job_session` is one job of one owner, with its
`slots` and its `reports` to the owner. The package does not depend on `p2p.compute.owner`.
"""
