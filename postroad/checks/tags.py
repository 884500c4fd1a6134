"""Tag lists, which DKIM keys and DMARC policies are (RFC 6376, section 3.2)."""


def parse(text: str) -> dict[str, str]:
    """``v=DKIM1; k=rsa; p=...`` as a dictionary, white space at the edges dropped.

    Raises:
        ValueError: it is no tag list, or a tag comes twice; says which.
    """
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name.replace("_", "a").isalnum():
            raise ValueError(f"no tag: {part.strip()[:40]}")
        if name in tags:
            raise ValueError(f"the tag {name} comes twice")
        tags[name] = value
    return tags
