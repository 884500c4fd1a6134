"""Facts from the DNS: what is published, what should be, and which address the world sees. Prints nothing."""
