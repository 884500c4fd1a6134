"""States in which the doctor and the receivers' programs differ, and why: docs/doctor.md says the same."""

EXPLAINED: dict[str, str] = {}
