"""The one rule for names and domains, with a near miss beside each example."""

import pytest

from postroad import domains


@pytest.mark.parametrize(
    ("name", "domain", "within", "below"),
    [
        ("example.com", "example.com", True, False),
        ("a.example.com", "example.com", True, True),
        ("b.a.example.com", "example.com", True, True),
        ("evilexample.com", "example.com", False, False),
        ("example.com", "a.example.com", False, False),
        ("example.com.evil", "example.com", False, False),
        ("xample.com", "example.com", False, False),
        ("", "example.com", False, False),
        ("com", "example.com", False, False),
    ],
)
def test_labels_count_not_letters(name: str, domain: str, within: bool, below: bool) -> None:
    assert domains.is_within(name, domain) is within
    assert domains.is_below(name, domain) is below
    assert domains.fits(name, f".{domain}") is below
    assert domains.fits(name, domain) is (name == domain)
    assert domains.may_send(name, domain, subdomains=True) is within
    assert domains.may_send(name, domain, subdomains=False) is (name == domain)


def test_any_domain_may_send() -> None:
    assert domains.may_send("x.example", "*", subdomains=False)
    assert not domains.is_within("x.example", "*")
