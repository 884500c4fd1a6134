"""What sendmail's rules say, by which the event store knows them again. Standard library only."""

SUPPRESSED = "this address is suppressed"
"""At RCPT, to a recipient on the suppression list."""

BRAKED = "is taken for now, too much of it bounces"
"""At MAIL, to a sender domain that is braked."""

CLASSES = {SUPPRESSED: "suppressed", BRAKED: "braked"}
"""What the store calls a refusal with one of these texts."""

DELIVERY = "delivery: "
"""Begins the reasons of the health file that are about deliveries: no restart of this server mends them."""

NONE_SUCCEEDS = f"{DELIVERY}none has succeeded lately, and several receivers fail: postroad queue list says why"
NOT_TRIED = f"{DELIVERY}mail is due that nobody has tried for two retry intervals: postroad queue list --active"

TURN = "waits for its turn:"
"""In the reason for which mail of a route with limits waits; behind it, which route."""
