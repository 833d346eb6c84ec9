"""The volunteer's side of jobs: what it offers, to which owners, and the jobs that it works on.

The package's interface is `Volunteering` (cores, the queue, outputs kept after a job), `OwnerSearch` (used if this peer
cannot be dialled), and `refusals` (used if it does not volunteer). A `job_session` is one job of one owner, with its
`slots` and its `reports` to the owner. The package does not depend on `p2p.compute.owner`.
"""
