# ruff: noqa: E501 - the rows of a table are long
"""The reference page, docs/configuration.md."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from dev import since
from dev.config_schema import kind, repeats, resolve, schema
from postroad.config.keys import keys
from postroad.config.mc import REFUSED_WORDS
from postroad.config.model import Config

PAGE = """\
<!-- Made from the model by `python -m dev.config_files`; do not edit. -->

# Configuration

Two keys are enough:

```yaml
hostname: mail.example.com
domains: [example.com]
```

`config.example.yaml` has every key with its default, and `config.schema.json` lets an editor complete and
check them. `postroad check` does all that a start does but start, and changes nothing: it lists everything
that is wrong with the configuration, each with its key, what was found and what is accepted; then the same
for the files that it names, the volumes, and what m4 and sendmail say of the result. The exit code is then 2.
What a start would go on with, such as an event store that can't be reached, is a warning. How a change is
applied: [running it](running.md).

## Where values come from

The first of these that has a value wins. Mappings are merged key by key; lists are replaced whole.

1. A variable of the environment: `POSTROAD_` and the key in capitals, with `__` between levels
   (`POSTROAD_DELIVERY__QUEUE__RETRY=10m`). An empty one counts as not set, and `null` is null.
2. A file that a variable with `_FILE` at its end names (`POSTROAD_HOSTNAME_FILE=/run/secrets/name`); the
   line break at its end is dropped. Where a key itself ends in `_file`, its variable holds the key's value.
3. A secret in `/run/secrets` that is called like the variable, in any case
   (`/run/secrets/postroad_hostname`).
4. The YAML file: `/etc/postroad/config.yaml`, or the one that `POSTROAD_CONFIG` names. Without it the
   environment is enough.
5. The default.

Lists are JSON (`["example.com", "example.net"]`) or comma-separated (`example.com, example.net`); a mapping
is JSON (`POSTROAD_LOG='{"format": "text"}'`). An unknown key or `POSTROAD_` variable is an error. These
variables are not keys: `POSTROAD_CONFIG`; `POSTROAD_FQDN` and `POSTROAD_LOG_SOCKET`, which Postroad sets for
its children; and what Kubernetes sets for a service called `postroad` (`POSTROAD_SERVICE_HOST`,
`POSTROAD_PORT_25_TCP` and so on).

The file is YAML 1.2 (`no` is a word, there are no merge keys) in UTF-8: one mapping, no key twice, at most
1 MiB.

## How values are written

| type | written | meaning |
|---|---|---|
| duration | `90s`, `5m`, `1h30m`, `5d`, `300` | days, hours, minutes, seconds; a plain number is seconds. From 1 second to 365 days |
| size | `25MiB`, `10MB`, `500k`, `1000` | `KiB`, `MiB`, `GiB` are 1024s, `k` or `kB` 1000s; plain: bytes. From 1 byte to less than 2 GiB |
| share | `5%`, `0.5%` | a part of a whole. Above 0 %, at most 100 % |
| rate | `100/minute`, `5000/hour`, `20000/day` | a number within any minute, hour or day. From 1 to 10,000,000 |
| day | `2026-11-24` | in UTC |
| host name, domain | `mail.example.com` | letters, digits, hyphens; other scripts as `xn--` |
| address or CIDR | `10.1.2.3`, `172.20.0.0/16`, `fd00::/64` | the bits after the prefix are zero |
| address | `203.0.113.10`, `2001:db8::10` | one IP address |
| absolute path | `/run/secrets/key` | inside the container |

A value outside its range is refused with the key, what was found and what is accepted: a start ends with exit
code 2, and a reload changes nothing.

Text refuses backticks, apostrophes, line breaks and control characters, since m4 could take them for the end
of a quoted string. The keys under `sendmail` are m4 themselves and have rules of their own, below.

## Words

| word | what it means |
|---|---|
| envelope | the sender and recipients that servers tell each other (`MAIL FROM`, `RCPT TO`); the recipient's mail program shows the header (`From:`, `To:`) instead |
| MX host | the mail server that a domain's MX record names: mail for that domain goes there |
| smarthost | a server that takes all your mail and delivers it, such as a provider's |
| bounce | a message that tells the sender that a message could not be delivered |
| relay | a server that takes mail from apps and passes it on, such as this one |
| deferred | the receiver said "later" (an answer `4xx`): the message waits in the queue and is tried again |
| greylisting | a receiver says "later" to each first attempt |
| suppressed | an address that gets no more mail: it does not exist, or its owner complained or unsubscribed |
| backscatter | bounces to people who sent nothing, since somebody used their address |
| HELO | the name by which a mail server introduces itself |
| selector | the name of a DKIM key in the DNS: the key is at `SELECTOR._domainkey.DOMAIN` |
| STARTTLS | a command that turns a connection in clear text into one with TLS |

## Keys

Below each key: its type and range, its default, the release that first has it, and its environment variable. SINCE

KEYS

## Raw m4

`sendmail` is for what has no key yet. What is given there goes into `sendmail.mc` as it is, after Postroad's
own lines, so it can change how mail flows and who may relay: it is checked for slips, not made safe.

- `defines`: a name must be one that sendmail 8.18.1's m4 files know, since m4 takes a misspelt one in
  silence. Names that a key sets (`confMAX_MESSAGE_SIZE`: `limits.message_size`) or that Postroad depends on
  (`confPID_FILE`) are refused. A value can't use `$1`, `$*`, `$@` or `$#`: m4 would replace them.
- `features`: known names likewise; those that relay for whoever claims to be somebody are refused.
- `local_config`: the end of the file, after `LOCAL_RULESETS`; start with `LOCAL_CONFIG` for classes and maps.
  Rules need tabs, which YAML keeps in a block (`|`).
- In all of them quotes must pair up, also in comments, no word may be split by quotes, and these m4 builtins
  are refused:

BUILTINS
"""


COMPANIONS = {
    "tls.certificate_file": ("key_file",),
    "tls.key_file": ("certificate_file",),
    "delivery.smarthost.provider": ("region",),
    "delivery.smarthost.region": ("provider",),
    "delivery.smarthost.port": ("host",),
    "delivery.smarthost.fallback": ("host",),
    "delivery.smarthost.tls": ("host",),
    "delivery.smarthost.username": ("host", "password_file"),
    "delivery.smarthost.password_file": ("host", "username"),
    "delivery.smarthost.oauth": ("host", "username"),
    "delivery.smarthost.certificate_file": ("host", "key_file"),
    "delivery.smarthost.key_file": ("host", "certificate_file"),
    "delivery.smarthost.oauth.token_url": ("client_id", "client_secret_file"),
    "delivery.smarthost.oauth.device_url": ("token_url", "client_id"),
    "delivery.smarthost.oauth.client_id": ("token_url", "client_secret_file"),
    "delivery.smarthost.oauth.client_secret_file": ("token_url", "client_id"),
    "delivery.smarthost.oauth.scope": ("token_url", "client_id", "client_secret_file"),
    "delivery.smarthost.oauth.refresh_token_file": ("token_url", "client_id"),
    "delivery.routes[].senders": ("smarthost",),
    "delivery.routes[].smarthost": ("domains",),
    "delivery.routes[].bind": ("domains",),
    "delivery.proxy.username": ("password_file",),
    "delivery.proxy.password_file": ("username",),
    "delivery.routes[].concurrency": ("domains",),
    "delivery.routes[].rate": ("domains",),
    "delivery.routes[].warm_up": ("domains",),
    "delivery.routes[].warm_up.since": ("daily",),
    "rewrite.masquerade_domains": ("masquerade_as",),
    "rewrite.masquerade_as": ("masquerade_domains",),
    "events.store_password_file": ("store",),
    "web.listen": ("password_file",),
    "web.proxies": ("password_file",),
    "web.viewer_password_file": ("password_file",),
    "web.oidc.issuer": ("operators",),
    "web.oidc.url": ("operators",),
    "web.oidc.client_id": ("operators",),
    "web.oidc.client_secret_file": ("operators",),
    "web.oidc.claim": ("operators",),
    "web.oidc.ca_file": ("operators",),
    "web.vendors": ("keys",),
    "web.keys[].name": ("user",),
    "web.keys[].key_file": ("user",),
    "web.keys[].domains": ("rights",),
    "web.keys[].rights": ("domains",),
    "peers.port": ("secret_file",),
    "returns.listen": ("domain",),
    "returns.senders": ("domain",),
    "returns.key_file": ("domain",),
    "returns.forward_to": ("domain",),
    "returns.unsubscribe.domains": ("url",),
}
"""Keys that are no good alone, and the keys beside them that an example shows as well."""

AROUND: dict[str, dict[str, Any]] = {
    "domains[].dkim": {"name": "example.com"},
    "delivery.smarthost.oauth": {"host": "smtp.office365.com", "username": "app@example.com"},
    "web": {"clients": {"users": [{"name": "app", "password_file": "/run/secrets/app_password"}]}},
    "returns.unsubscribe": {"domain": "bounces.example.com"},
    "delivery.routes[].warm_up": {"domains": ["example.net"], "smarthost": None},
}
"""What the sections that an entry stands in need themselves."""


@dataclass(frozen=True)
class Entry:
    """A key as the page tells it.

    Attributes:
        name: the key in full, such as ``domains[].name``.
        schema: the key's schema.
        text: its meaning, in sentences.
        example: a value that somebody might write; None for a section, whose keys have their own.
        same: the section that has the same keys below it and comes first, such as ``delivery.smarthost``.
        section: whether it has keys below it.
    """

    name: str
    schema: dict[str, Any]
    text: str
    example: Any = None
    same: str = ""
    section: bool = False


def reference() -> str:
    """The page, in Markdown."""
    variables = {key.name: key.variable for key in keys(Config)}
    first = since.read(variables)
    found = list(entries())
    parts = [_entry(entry, variables[entry.name], first[entry.name], found) for entry in found]
    reasons: dict[str, list[str]] = {}
    for word, why in REFUSED_WORDS.items():
        reasons.setdefault(why, []).append(f"`{word}`")
    builtins = [f"  - {' '.join(words)}: {why}" for why, words in reasons.items()]
    page = PAGE.replace("KEYS", "\n\n".join(parts)).replace("BUILTINS", "\n".join(builtins))
    return page.replace("SINCE", _since(set(first.values())))


def _since(named: set[str]) -> str:
    out = since.releases((since.TOP / "CHANGELOG.md").read_text())
    return " ".join(f"{release} is the next release; it is not out yet." for release in sorted(named - set(out)))


def entries() -> Iterator[Entry]:
    """Every key of the page, in the model's order; a section that stands in two places has its keys once."""
    root = schema()
    yield from _entries(root, root, "", {})


def _entries(root: dict[str, Any], section: dict[str, Any], above: str, seen: dict[int, str]) -> Iterator[Entry]:
    for last, entry in section["properties"].items():
        name, below = above + last, resolve(root, entry)
        text = entry.get("description") or below["description"]
        if below is entry:
            yield Entry(name, entry, text, _value(entry))
            continue
        same = above.removesuffix(".") if repeats(section, below) else seen.setdefault(id(below), name)
        example = entry["examples"][0] if entry.get("examples") else None
        yield Entry(name, entry, text, example, "" if same == name else same, section=True)
        if same == name:
            yield from _entries(root, below, f"{name}{'[]' if 'items' in entry else ''}.", seen)


def _value(entry: dict[str, Any]) -> Any:
    """The key's example, or where its type says it all another value than the default."""
    if entry.get("examples"):
        return entry["examples"][0]
    if entry.get("type") == "boolean":
        return not entry["default"]
    choices = [value for each in (entry, *entry.get("anyOf", ())) for value in each.get("enum", ())]
    return next((value for value in choices if value != entry.get("default")), entry.get("default"))


def _entry(entry: Entry, variable: str | None, release: str, found: list[Entry]) -> str:
    facts = [kind(entry.schema), _default(entry.schema), f"since {release}"]
    if variable:
        facts.append(f"`{variable}`" + (" (as JSON)" if entry.section else ""))
    lines = [f"{'####' if '.' in entry.name else '###'} `{entry.name}`", "", entry.text, ""]
    if entry.same:
        lines += [f"It has the same keys as [`{entry.same}`](#{entry.same.replace('.', '').replace('[]', '')}).", ""]
    lines.append(" · ".join(filter(None, facts)))
    if not entry.section or entry.schema.get("examples"):
        lines += ["", "```yaml", yaml.safe_dump(_placed(entry, found), sort_keys=False, width=1000).strip(), "```"]
    return "\n".join(lines)


def _placed(entry: Entry, found: list[Entry]) -> dict[str, Any]:
    """The example as a file has it: below its sections, beside what it can't do without."""
    above, _, last = entry.name.rpartition(".")
    wanted = {last, *COMPANIONS.get(entry.name, ())}
    value: Any = {}
    for each in found:
        section, _, name = each.name.rpartition(".")
        needed = section and "default" not in each.schema and "$ref" not in each.schema
        if section == above and (name in wanted or needed):
            value[name] = each.example
    while above:
        above, _, name = above.rpartition(".")
        full = f"{above}.{name}" if above else name
        value = {**AROUND.get(full, {}), name.removesuffix("[]"): [value] if name.endswith("[]") else value}
    return dict(value)


def _default(entry: dict[str, Any]) -> str:
    if "$ref" in entry:
        return ""
    if "default" not in entry:
        return "required"
    default = entry["default"]
    return f"default `{default}`" if isinstance(default, str) and default else f"default `{json.dumps(default)}`"
