"""Facts from the DNS: what is published, what should be, and which address receivers see. Prints nothing."""
