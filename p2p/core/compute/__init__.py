"""Decisions about jobs, without IO: who runs which unit, and which results are accepted. `job` is the state machine."""
