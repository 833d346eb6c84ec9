"""Decisions about jobs, without IO: who runs which unit, and which results count. `job` is the state machine."""
