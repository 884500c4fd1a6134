"""The signer: a milter that decides whether a message may leave, and signs it as it will (DKIM, RFC 6376)."""
