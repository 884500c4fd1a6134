"""What all tests share."""

from hypothesis import settings

# a test's time says something about the machine, and nothing about the code
settings.register_profile("postroad", deadline=None)
settings.load_profile("postroad")
