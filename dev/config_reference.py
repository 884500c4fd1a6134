"""The reference page, docs/configuration.md."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from dev.config_schema import kind, resolve, schema
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
| duration | `90s`, `5m`, `1h30m`, `5d`, `300` | days, hours, minutes, seconds; a plain number is seconds |
| size | `25MiB`, `10MB`, `500k`, `1000` | `KiB`, `MiB`, `GiB` are 1024s, `k` or `kB` 1000s; plain: bytes |
| share | `5%`, `0.5%` | a part of a whole, above 0 % |
| rate | `100/minute`, `5000/hour`, `20000/day` | within any such span of time |
| day | `2026-11-24` | in UTC |
| host name, domain | `mail.example.com` | letters, digits, hyphens; other scripts as `xn--` |
| address or CIDR | `10.1.2.3`, `172.20.0.0/16`, `fd00::/64` | the bits after the prefix are zero |
| address | `203.0.113.10`, `2001:db8::10` | one IP address |
| absolute path | `/run/secrets/key` | inside the container |

Text refuses backticks, apostrophes, line breaks and control characters, since m4 could take them for the end
of a quoted string. The keys under `sendmail` are m4 themselves and have rules of their own, below.

## Keys

ROWS

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


def reference() -> str:
    """The page, in Markdown."""
    root = schema()
    rows = ["| key | type | default | environment variable | meaning |", "|---|---|---|---|---|"]
    variables = {key.name: key.variable for key in keys(Config)}
    for name, entry, description in _entries(root, root):
        variable = f"`{variables[name]}`" if variables[name] else ""
        rows.append(
            f"| `{name}` | {kind(entry)} | {_default(entry)} | {variable} | {description}{_example(name, entry)} |"
        )
    reasons: dict[str, list[str]] = {}
    for word, why in REFUSED_WORDS.items():
        reasons.setdefault(why, []).append(f"`{word}`")
    builtins = [f"  - {' '.join(words)}: {why}" for why, words in reasons.items()]
    return PAGE.replace("ROWS", "\n".join(rows)).replace("BUILTINS", "\n".join(builtins))


def _entries(
    root: dict[str, Any], section: dict[str, Any], above: str = ""
) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name, entry in section["properties"].items():
        below = resolve(root, entry)
        yield above + name, entry, entry.get("description") or below["description"]
        if below is not entry:
            yield from _entries(root, below, f"{above}{name}{'[]' if 'items' in entry else ''}.")


def _example(name: str, entry: dict[str, Any]) -> str:
    """The example as a line of the file, below its section; none where the type or the default shows it all."""
    if "examples" not in entry:
        return ""
    last, value = name.rpartition(".")[2], entry["examples"][0]
    if isinstance(value, str) and "\n" in value:
        return f" Example: `{last}: {json.dumps(value)}`"
    line = yaml.safe_dump({last: value}, default_flow_style=True, width=1000, sort_keys=False).strip()
    return f" Example: `{line[1:-1]}`"


def _default(entry: dict[str, Any]) -> str:
    if "$ref" in entry:
        return ""
    if "default" not in entry:
        return "required"
    default = entry["default"]
    return f"`{default}`" if isinstance(default, str) and default else f"`{json.dumps(default)}`"
