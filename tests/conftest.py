"""What all tests share: constants are set by `shorten`, and hypothesis draws the same examples in every run, few enough
to be quick."""

from hypothesis import HealthCheck, settings

from tests.support.constants import shorten as shorten

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
