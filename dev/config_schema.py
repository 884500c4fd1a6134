"""The JSON schema of the configuration file (draft 2020-12), for editors and for the generated files."""

from typing import Any

from postroad.config.keys import keys
from postroad.config.model import Config
from postroad.config.section import Section

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema of what people write, each default as they would write it."""
    made = Config.model_json_schema()
    sections = {key.section for key in keys(Config) if key.section}
    _set_defaults(made, Config)
    for section in sections:
        _set_defaults(made["$defs"][section.__name__], section)
    return {"$schema": DRAFT, **made}


def _set_defaults(made: dict[str, Any], section: type[Section]) -> None:
    # pydantic writes a duration's default as PT5M and a size's as octets
    required = {name for name, field in section.model_fields.items() if field.is_required()}
    # not validated: no key alone needs a value for a section's defaults to be told
    defaults = section.model_construct().model_dump(mode="json")
    for name, entry in made["properties"].items():
        if name not in required and "$ref" not in entry:
            entry["default"] = defaults[name]
        for choice in entry.get("anyOf", ()):
            # pydantic's words, which no validator knows, where a number may be null
            for ours, standard in (("ge", "minimum"), ("le", "maximum")):
                if ours in choice:
                    choice[standard] = choice.pop(ours)


def resolve(root: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The section that an entry refers to: itself, besides null, or as a list's items; else the entry."""
    items = entry.get("items", {})
    for candidate in (entry, *entry.get("anyOf", []), items, *items.get("anyOf", [])):
        if "$ref" in candidate:
            section: dict[str, Any] = root["$defs"][candidate["$ref"].rpartition("/")[2]]
            return section
    return entry


def repeats(section: dict[str, Any], below: dict[str, Any]) -> bool:
    """Whether a section below has nothing but keys that the section above it has, too: they are not told twice."""
    return set(below["properties"]) <= set(section["properties"])


def kind(entry: dict[str, Any]) -> str:
    """What a value is, in words."""
    choices = [kind(choice) for choice in entry.get("anyOf", ())] + [f"`{x}`" for x in entry.get("enum", ())]
    if choices:
        return " or ".join(dict.fromkeys(choices))
    if "$comment" in entry:
        return str(entry["$comment"])
    if entry.get("type") == "array":
        return f"list of {kind(entry['items'])}"
    if "minimum" in entry:
        return f"{entry['minimum']} to {entry['maximum']}"
    words = {"boolean": "true or false", "integer": "whole number", "string": "text", "null": "`null`"}
    return words.get(entry.get("type", ""), "mapping")
