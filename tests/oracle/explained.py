"""States in which the doctor and the receivers' programs differ, and why: docs/doctor.md says the same."""

NAMES = "Postfix asks that the name and the address lead to each other, and not that the name is the one in HELO"
OTHERS = "we pass, and others that the record speaks of do not"
ORDER = "the grammar has an order, or one of each tag; these programs do not look"
TEST_MODE = "verifiers may treat mail signed with a key in test mode as not signed"
REPORTS = "the policy is followed, and no report comes"
BOUNCES = "Postfix looks at the MX record alone; mail to its host gets nowhere, so bounces are lost"
ALIAS = "other servers refuse an MX host that is an alias"
CHANCE = "which of two texts OpenDMARC and rspamd take depends on their order"

EXPLAINED: dict[str, str] = {
    **{
        f"host PTR {name}{over}": NAMES
        for name in ("to another name that leads back", "doubled")
        for over in ("", " over IPv6")
    },
    "spf beside other texts": CHANCE,
    "spf include silent, after the match": OTHERS,
    "spf eleven lookups, after the match": OTHERS,
    "dkim v last": ORDER,
    "dkim test mode": TEST_MODE,
    "dmarc beside another text": CHANCE,
    "dmarc beside a record of another version": CHANCE,
    "dmarc p is not second": ORDER,
    "dmarc p twice": ORDER,
    "dmarc two semicolons": ORDER,
    "dmarc an address that is no URI": REPORTS,
    "mx host without an address": BOUNCES,
    "mx an address as a host": BOUNCES,
    "mx host by a CNAME": ALIAS,
}
