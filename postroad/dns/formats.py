"""Planned records as text for what reads them: BIND, Route 53, Terraform, Cloudflare."""

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
    """All records of a name and type: what Route 53 and Terraform set at once."""

    name: str
    type: str
    ttl: int
    values: tuple[str, ...]
    exists: bool
    """Whether there are such records now, all of them known: only then may they be overwritten."""


def record_sets(planned: Iterable[Planned]) -> list[RecordSet]:
    """The records by name and type, with the values that are there for other purposes and must stay."""
    groups: dict[tuple[str, str], list[Planned]] = {}
    for each in planned:
        if each.ours:
            groups.setdefault((each.record.name, each.record.type), []).append(each)
    made = []
    for (name, rtype), members in groups.items():
        replaced = {value for each in members for value in each.replaces}
        own = [each.record.value for each in members]
        beside = [value for each in members for value in each.beside if value not in replaced]
        # by their octets: two values may look the same as text
        kept = {tuple(strings(value)): value for value in beside if value not in own}
        values = (*dict.fromkeys(own), *kept.values())
        exists = any(each.beside or each.state in {RecordState.CHANGE, RecordState.PRESENT} for each in members)
        made.append(RecordSet(name, rtype, members[0].record.ttl, values, exists))
    return made


def strings(text: str) -> list[bytes]:
    """A TXT value as character strings of at most 255 octets (RFC 1035, section 3.3): its own, where it was read."""
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
        lines.append(f"; zone {zone}{', which belongs to whoever gave you the address' if reverse else ''}")
        for each in members:
            lines += [f"; {_state(each)}: {each.record.purpose}", *_remarks(each), zone_line(each.record)]
        lines.append("")
    return "\n".join(lines)


def cloudflare(planned: Sequence[Planned]) -> str:
    """A file for Cloudflare's import, which adds records and changes none: what is there already is left out.

    Addresses are not proxied: mail is not HTTP, and receivers must see this host's own address.
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
    """One record as a zone file has it."""
    return f"{record.name}. {record.ttl} IN {record.type} {_rdata(record.type, record.value)}"


def _rdata(rtype: str, value: str) -> str:
    if rtype == "TXT":
        return " ".join('"' + "".join(_escaped(byte, "{:03d}") for byte in part) + '"' for part in strings(value))
    if rtype in {"MX", "PTR", "CNAME"}:
        return value if value.endswith(".") else f"{value}."
    return value


def _escaped(byte: int, number: str) -> str:
    """An octet of a character string in quotes."""
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 else "\\" + number.format(byte)


def _route53_value(rtype: str, value: str) -> str:
    """As Route 53 takes it: other than in a zone file, escapes are octal."""
    if rtype == "TXT":
        return " ".join('"' + "".join(_escaped(byte, "{:03o}") for byte in part) + '"' for part in strings(value))
    return _rdata(rtype, value)


def route53(planned: Sequence[Planned]) -> str:
    """A change batch for ``aws route53 change-resource-record-sets``; the records must be of one zone."""
    changes = [
        {
            # CREATE fails where there is something that we have not seen
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
    """``aws_route53_record`` resources, laid out as ``terraform fmt`` does; the reverse zones are left out."""
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
    """The provider adds the outer quotes of a TXT value; between two strings there are two of them."""
    if rtype == "TXT":
        return '""'.join("".join(_escaped(byte, "{:03o}") for byte in part) for part in strings(value))
    return _rdata(rtype, value)


def _hcl(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    return f'"{quoted}"'
