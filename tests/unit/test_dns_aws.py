"""The request to AWS: filled from configuration and facts, and nothing claimed that they don't say."""

from typing import Any

from postroad.config.model import Config
from postroad.dns.aws import request, text
from postroad.dns.egress import Egress
from postroad.dns.instance import Instance

THIS = Instance("i-0123456789abcdef0", "ap-northeast-2", "10.0.3.7", "")
NAT = Egress(("203.0.113.10",), "dns", ("172.18.0.2",))


def made(
    found: Egress = NAT, this: Instance = THIS, *, use_case: str = "", per_day: int | None = None, **keys: Any
) -> dict[str, Any]:
    config = Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com", "example.net"], **keys})
    return request(config, found, this, use_case=use_case, per_day=per_day)


def test_all_that_is_known_is_filled_in() -> None:
    fields = made(use_case="Receipts to our customers.", per_day=500)
    said = fields["use_case_description"]
    assert "[" not in said
    assert (
        "from instance i-0123456789abcdef0 in ap-northeast-2, through a NAT gateway, with the Elastic IP 203.0.113.10."
        in said
    )
    assert "Use case: Receipts to our customers. About 500 messages a day." in said
    assert "It sends only as example.com, example.net" in said
    assert "at most 100 recipients and 25MiB" in said
    assert "every 5m and given up after 5d" in said
    assert "signed with DKIM" in said
    assert said.endswith("set the reverse DNS of 203.0.113.10 to mail.example.com.")
    assert (fields["elastic_ips"], fields["reverse_dns"]) == (["203.0.113.10"], ["mail.example.com"])
    assert fields["behind_nat"]
    assert "  203.0.113.10\nReverse DNS record 1\n  mail.example.com" in text(fields)


def test_what_is_not_known_stands_in_brackets() -> None:
    fields = made(Egress((), "", ()), Instance())
    assert fields["region"].startswith("[region")
    assert fields["elastic_ips"][0].startswith("[the Elastic IP")
    assert "About [how many] messages" in fields["use_case_description"]
    assert "NAT gateway," not in fields["use_case_description"].splitlines()[0]


def test_an_instance_with_the_address_itself_is_behind_no_nat() -> None:
    assert not made(this=Instance("i-1", "eu-west-1", "10.0.3.7", "203.0.113.10"))["behind_nat"]
    assert not made(found=Egress(("203.0.113.10",), "configured", ("203.0.113.10",)), this=Instance())["behind_nat"]


def test_an_open_configuration_claims_nothing() -> None:
    everyone = {"networks": ["0.0.0.0/0"], "i_know_this_is_an_open_relay": True}
    said = made(clients=everyone, domains=["*"], dkim={"enabled": False}, use_case="x", per_day=1)[
        "use_case_description"
    ]
    assert "no open relay" not in said
    assert "other senders are refused" not in said
    assert "signed with DKIM" not in said
    assert said.count("[") == 2
    assert "signed with DKIM" not in made(dkim={"enabled": False})["use_case_description"]
