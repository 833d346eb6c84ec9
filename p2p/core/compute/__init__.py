"""What is decided of jobs, without IO: units, attempts, who works, what counts. `job` is the state machine."""
