"""Where no request may be made to, however the address is written."""

import pytest

from postroad.config.addresses import reach

CASES = {
    "public": "8.8.8.8 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1",
    "private": "10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 127.0.0.1 127.9.9.9 fd00::1 ::1"
    " ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::7f00:1 2002:a00:1:: 2002:7f00:1::1 ::10.0.0.1"
    " ::ffff:0:10.0.0.1",
    "never": "169.254.169.254 169.254.170.2 fd00:ec2::254 168.63.129.16 100.100.100.200 192.0.0.192 fe80::1 fe80::1%eth0"
    " ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: ::169.254.169.254 ::ffff:0:169.254.169.254 0.0.0.0 ::"
    " 0.1.2.3 224.0.0.1 ff02::1 ff0e::1 255.255.255.255 240.0.0.1 192.0.2.1 198.18.0.1 203.0.113.1 2001:db8::1 fec0::1"
    " 64:ff9b:1::a00:1 2001:0:1::1 100::1 4000::1",
}


@pytest.mark.parametrize(("text", "expected"), [(text, kind) for kind, all_ in CASES.items() for text in all_.split()])
def test_reach(text: str, expected: str) -> None:
    assert reach(text) == expected


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        reach("localhost")
