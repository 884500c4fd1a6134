"""Sockets that listen, from the kernel's tables."""

import ipaddress
from pathlib import Path

from postroad.checks.open_relay import reachable
from postroad.runtime import listening

REST = "00000000:00000000 00:00000000 00000000  1000        0"
NOBODY = "00000000:0000"
NOBODY_6 = "00000000000000000000000000000000:0000"
FOUR = f"""  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 {NOBODY} 0A {REST} 111 1 0000 100 0 0 10 0
   1: 0100007F:1F90 {NOBODY} 0A {REST} 112 1 0000 100 0 0 10 0
   2: 020014AC:024B {NOBODY} 0A {REST} 113 1 0000 100 0 0 10 0
   3: 020014AC:0035 0500007F:0019 01 {REST} 114 1 0000 100 0 0 10 0
"""
SIX = f"""  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0019 {NOBODY_6} 0A {REST} 121 1 0000 100 0 0 10 0
   1: 00000000000000000000000001000000:01D1 {NOBODY_6} 0A {REST} 122 1 0000 100 0 0 10 0
   2: 000001FD00000000000000000A000000:01D2 {NOBODY_6} 0A {REST} 123 1 0000 100 0 0 10 0
   3: cut
"""


def test_the_kernels_tables(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(FOUR)
    assert [(str(each.address), each.port, each.inode) for each in listening.tcp(tmp_path)] == [
        ("0.0.0.0", 25, "111"),
        ("127.0.0.1", 8080, "112"),
        ("172.20.0.2", 587, "113"),
    ]
    (tmp_path / "net/tcp6").write_text(SIX)
    assert [(each.address, each.port) for each in listening.tcp(tmp_path)][3:] == [
        (ipaddress.ip_address("::"), 25),
        (ipaddress.ip_address("::1"), 465),
        (ipaddress.ip_address("fd01::a"), 466),
    ]


def test_where_strangers_can_connect() -> None:
    sockets = [*listening.parse(FOUR.splitlines()), *listening.parse(SIX.splitlines())]
    assert reachable(sockets) == [("127.0.0.1", 25), ("172.20.0.2", 587), ("127.0.0.1", 466)]
