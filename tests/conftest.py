"""What all tests share."""

from hypothesis import settings

# a test's time says something about the machine, and nothing about the code
settings.register_profile("postroad", deadline=None)
settings.register_profile("many", deadline=None, max_examples=1000)  # for `make faults`
settings.load_profile("postroad")
