"""Decisions about jobs, without IO: units, attempts, who works, which results count. `job` is the state machine."""
