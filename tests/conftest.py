"""What all tests share: hypothesis draws the same examples in every run, and few enough to be quick."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "shoal",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=80,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shoal")
