"""Planned records as text for BIND, Route 53, Terraform and Cloudflare."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from postroad.dns.records import Record
from postroad.dns.resolver import Text
from postroad.dns.survey import Planned, RecordState
from postroad.text import printable

LONGEST_STRING = 255


@dataclass(frozen=True)
class RecordSet:
    """All records of one name and type, which Route 53 and Terraform set together."""

    name: str
    type: str
    ttl: int
    values: tuple[str, ...]
    exists: bool
    """Whether such records are published now and all of them are known: only then may they be overwritten."""


def record_sets(planned: Iterable[Planned]) -> list[RecordSet]:
    """The records by name and type, together with published values that serve other purposes and must stay."""
    groups: dict[tuple[str, str], list[Planned]] = {}
    for each in planned:
        if each.ours:
            groups.setdefault((each.record.name, each.record.type), []).append(each)
    made = []
    for (name, rtype), members in groups.items():
        replaced = {value for each in members for value in each.replaces}
        own = [each.record.value for each in members]
        beside = [value for each in members for value in each.beside if value not in replaced]
        # compared by octets: two different values may look the same as text
        kept = {tuple(strings(value)): value for value in beside if value not in own}
        values = (*dict.fromkeys(own), *kept.values())
        exists = any(each.beside or each.state in {RecordState.CHANGE, RecordState.PRESENT} for each in members)
        made.append(RecordSet(name, rtype, members[0].record.ttl, values, exists))
    return made


def strings(text: str) -> list[bytes]:
    """A TXT value as strings of at most 255 octets (RFC 1035, section 3.3); a value that was read keeps its own."""
    if isinstance(text, Text):
        return list(text.strings) or [b""]
    data = text.encode()
    return [data[start : start + LONGEST_STRING] for start in range(0, len(data), LONGEST_STRING)] or [b""]


def bind(planned: Sequence[Planned]) -> str:
    """Zone file lines (RFC 1035, section 5), grouped by zone; all names are absolute."""
    lines = []
    for zone in dict.fromkeys(each.zone for each in planned):
        members = [each for each in planned if each.zone == zone]
        reverse = zone.endswith(".arpa")
        lines.append(f"; zone {zone}{', managed by the provider of the address' if reverse else ''}")
        for each in members:
            lines += [f"; {_state(each)}: {each.record.purpose}", *_remarks(each), zone_line(each.record)]
        lines.append("")
    return "\n".join(lines)


def cloudflare(planned: Sequence[Planned]) -> str:
    """A file for Cloudflare's import, which adds records but changes none; existing records are left out.

    Addresses are not proxied, since mail is not HTTP and receivers must see this host's own address.
    """
    lines = []
    for each in planned:
        if each.zone.endswith(".arpa"):
            continue
        lines += [f"; {_state(each)}: {each.record.purpose}", *_remarks(each)]
        tag = " ; cf_tags=cf-proxied:false" if each.record.type in {"A", "AAAA"} else ""
        line = zone_line(each.record) + tag
        lines.append(f"; {line}" if each.state is RecordState.PRESENT else line)
    return "\n".join([*lines, ""])


def _state(planned: Planned) -> str:
    return str(planned.state) + (", delete what is there" if planned.replaces else "")


def _remarks(planned: Planned) -> Iterator[str]:
    for value in planned.replaces:
        yield f"; there is: {_rdata(planned.record.type, value)}"
    yield from (f"; {printable(note)}" for note in planned.notes)


def zone_line(record: Record) -> str:
    """One record as a line of a zone file."""
    return f"{record.name}. {record.ttl} IN {record.type} {_rdata(record.type, record.value)}"


def _rdata(rtype: str, value: str) -> str:
    if rtype == "TXT":
        return " ".join('"' + "".join(_escaped(byte, "{:03d}") for byte in part) + '"' for part in strings(value))
    if rtype in {"MX", "PTR", "CNAME"}:
        return value if value.endswith(".") else f"{value}."
    return value


def _escaped(byte: int, number: str) -> str:
    """One octet of a quoted character string."""
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 else "\\" + number.format(byte)


def _route53_value(rtype: str, value: str) -> str:
    """A value in Route 53's form, whose escapes are octal, unlike a zone file's."""
    if rtype == "TXT":
        return " ".join('"' + "".join(_escaped(byte, "{:03o}") for byte in part) + '"' for part in strings(value))
    return _rdata(rtype, value)


def route53(planned: Sequence[Planned]) -> str:
    """A change batch for ``aws route53 change-resource-record-sets``; all records must be in one zone."""
    changes = [
        {
            # CREATE fails if a record exists that we have not seen
            "Action": "UPSERT" if each.exists else "CREATE",
            "ResourceRecordSet": {
                "Name": f"{each.name}.",
                "Type": each.type,
                "TTL": each.ttl,
                "ResourceRecords": [{"Value": _route53_value(each.type, value)} for value in each.values],
            },
        }
        for each in record_sets(planned)
    ]
    return json.dumps({"Comment": "Records for mail, by Postroad", "Changes": changes}, indent=2) + "\n"


def terraform(planned: Sequence[Planned]) -> str:
    """``aws_route53_record`` resources in the layout of ``terraform fmt``; reverse zones are left out."""
    forward = [each for each in planned if not each.zone.endswith(".arpa")]
    zones = {each.record.name: each.zone for each in forward}
    lines = [
        'variable "zone_ids" {',
        f'  description = "The hosted zone id of each zone: {", ".join(dict.fromkeys(zones.values()))}"',
        "  type        = map(string)",
        "}",
    ]
    for each in record_sets(forward):
        lines += [
            "",
            f'resource "aws_route53_record" "{_label(each)}" {{',
            f'  zone_id = var.zone_ids["{zones[each.name]}"]',
            f'  name    = "{each.name}"',
            f'  type    = "{each.type}"',
            f"  ttl     = {each.ttl}",
            "  records = [",
            *(f"    {_hcl(_terraform_value(each.type, value))}," for value in each.values),
            "  ]",
            *(["  # there are such records already", "  allow_overwrite = true"] if each.exists else []),
            "}",
        ]
    return "\n".join([*lines, ""])


def _label(record_set: RecordSet) -> str:
    return re.sub(r"[^a-z0-9-]+", "_", f"postroad_{record_set.name}_{record_set.type}".lower())


def _terraform_value(rtype: str, value: str) -> str:
    """A value without the outer quotes of a TXT value, which the provider adds; ``""`` separates two strings."""
    if rtype == "TXT":
        return '""'.join("".join(_escaped(byte, "{:03o}") for byte in part) for part in strings(value))
    return _rdata(rtype, value)


def _hcl(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    return f'"{quoted}"'
