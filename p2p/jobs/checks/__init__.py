"""What is checked about a job before its results may be believed: that it plans the same way each time (`fingerprint`),
that its units keep no state from one call to the next (`state`), and that what it imports is there (`imports`).

These modules look at the job's code and never at its records. They know nothing of how a job is run.
"""
