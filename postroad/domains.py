"""Which domains a name is in: the one rule, on labels, so that evilexample.com is not below example.com. Pure.

Names are in lower case, without a dot at the end.
"""


def is_below(name: str, domain: str) -> bool:
    """Whether a name is a subdomain of a domain, at any depth."""
    return name.endswith(f".{domain}")


def is_within(name: str, domain: str) -> bool:
    """Whether a name is a domain, or below it."""
    return name == domain or is_below(name, domain)


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern: ``example.com`` for that name, ``.example.com`` for all below it."""
    return is_below(name, pattern[1:]) if pattern.startswith(".") else name == pattern


def may_send(name: str, domain: str, subdomains: bool) -> bool:
    """Whether an entry of ``domains`` lets a name send: ``*`` lets any; with ``subdomains`` those below count, too."""
    return domain in {name, "*"} or (subdomains and is_below(name, domain))
