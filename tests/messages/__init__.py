"""Messages, octet for octet, that were once altered, broken, refused or forged; a generator of more; what arrived, beside what was sent."""
