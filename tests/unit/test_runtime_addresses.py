"""Addresses as sendmail writes them."""

from ipaddress import ip_address

import pytest

from postroad.runtime.addresses import as_sendmail
from postroad.sendmail.networks import access_key


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "IPv6:0:0:0:0:0:0:0:1"),
        ("fd00:1::00ab", "IPv6:fd00:1:0:0:0:0:0:ab"),
        ("2001:db8:0:1:ffff:0:10:0", "IPv6:2001:db8:0:1:ffff:0:10:0"),
    ],
)
def test_an_address_as_sendmail_has_it(address: str, written: str) -> None:
    assert as_sendmail(address) == written
    assert access_key(ip_address(address)) == written
