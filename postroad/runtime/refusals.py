"""What sendmail's rules say, by which the event store knows them again. Standard library only."""

SUPPRESSED = "this address is suppressed"
"""At RCPT, to a recipient on the suppression list."""

BRAKED = "is taken for now, too much of it bounces"
"""At MAIL, to a sender domain that is braked."""

CLASSES = {SUPPRESSED: "suppressed", BRAKED: "braked"}
"""What the store calls a refusal with one of these texts."""

TURN = "waits for its turn:"
"""In the reason for which mail of a route with limits waits; behind it, which route."""
