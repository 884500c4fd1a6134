"""Which resolvers have a key's record, and whether that is enough to sign with it."""

import pytest

from postroad.dns.dkim_published import Seen, fault, is_revoked


@pytest.mark.parametrize(
    ("have", "lack", "silent", "enough"),
    [
        (2, 0, 0, True),
        (2, 0, 3, True),
        (5, 0, 0, True),
        (1, 0, 0, True),  # no other is asked
        (1, 0, 1, False),
        (1, 0, 3, False),
        (2, 1, 0, False),
        (4, 1, 0, False),
        (0, 0, 1, False),
        (0, 0, 4, False),
        (0, 1, 0, False),
    ],
)
def test_when_a_record_counts_as_published(have: int, lack: int, silent: int, enough: bool) -> None:
    seen = Seen(("a",) * have, ("b",) * lack, ("c",) * silent, "is missing")
    assert seen.enough == enough
    assert f"{have} of {have + lack + silent} resolvers have its record" in str(seen)


def test_a_record_that_is_not_the_key_s() -> None:
    wanted = f"v=DKIM1; k=ed25519; p={'A' * 43}="
    assert fault((wanted,), wanted) is None
    assert fault((), wanted)
    assert fault((wanted, wanted), wanted)
    assert fault((wanted.replace("p=A", "p=B"),), wanted)
    assert fault((wanted.replace("k=", "t=y; k="),), wanted)
    assert is_revoked("v=DKIM1; p=")
    assert not is_revoked(wanted)
    assert not is_revoked("something else")
