"""The owner's side of jobs, from the user's request to the result.

The package's interface is `Jobs`, which begins, resumes and cancels jobs. `setup` prepares a job, and `run` runs it,
action by action: the `planner` plans each action, the `driver` carries out what `p2p.core.compute.job` decides. The
`recruiter` finds volunteers, and the `employer` talks to each over a `volunteer_session`. `dispatch` and `shuffle`
determine what units read, `results` takes in outcomes of units, `outputs` keeps their outputs. The package does not
depend on `p2p.compute.volunteer`.
"""
