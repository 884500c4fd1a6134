"""The OpenAPI 3.1 document, from the models that requests are read with."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from postroad.web.operations import Operation
from postroad.web.problems import MEDIA_TYPE, ProblemDetails

REFS = "#/components/schemas/{model}"
USUAL = {
    401: "There is no valid key.",
    403: "The key has not the right to do this.",
    422: "A value is not what is accepted.",
    503: "It can't be done now; `Retry-After` says when to try again.",
}
Mode = Any
"""``validation`` or ``serialization``, as pydantic has it."""


def document(operations: Sequence[Operation], title: str = "Postroad") -> dict[str, Any]:
    """The document for these operations."""
    schemas, refs = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(re.sub(r":\w+}", "}", each.path), {})[each.method.lower()] = _operation(each, refs, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{title} API",
            "version": "1",
            "description": "Sends messages through the relay and tells what became of them. Refusals are problem "
            "details (RFC 9457).",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of `web.keys`."},
            },
        },
    }


def _schemas(operations: Sequence[Operation]) -> tuple[dict[str, Any], dict[type[BaseModel], dict[str, Any]]]:
    """All schemas, and for each model where its own is."""
    wanted: dict[type[BaseModel], Mode] = {ProblemDetails: "serialization"}
    for each in operations:
        wanted[each.answer] = "serialization"
        wanted |= dict.fromkeys([model for model in (each.body, each.query) if model], "validation")
    refs, found = models_json_schema([(model, mode) for model, mode in wanted.items()], ref_template=REFS)
    return found.get("$defs", {}), {model: refs[model, mode] for model, mode in wanted.items()}


def _operation(each: Operation, refs: dict[type[BaseModel], dict[str, Any]], schemas: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)(?::\w+)?}", each.path)
    ]
    if each.query:
        model = schemas[refs[each.query]["$ref"].rpartition("/")[2]]
        for name, schema in model.get("properties", {}).items():
            described = {key: value for key, value in schema.items() if key != "description"}
            parameters.append(
                {"name": name, "in": "query", "description": schema.get("description", ""), "schema": described}
            )
    problem = {"content": {MEDIA_TYPE: {"schema": refs[ProblemDetails]}}}
    said = {status: text for status, text in USUAL.items() if status != 422 or each.body or each.query}
    responses = {
        str(each.status): {
            "description": each.summary,
            "content": {"application/json": {"schema": refs[each.answer]}},
        }
    } | {str(status): {"description": text} | problem for status, text in sorted((said | dict(each.problems)).items())}
    described = {
        "operationId": each.name,
        "summary": each.summary,
        "description": f"Needs the right `{each.right}`.",
        "responses": responses,
    }
    if parameters:
        described["parameters"] = parameters
    if each.body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[each.body]}},
        }
    return described
