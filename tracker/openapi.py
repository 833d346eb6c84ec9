"""The API's OpenAPI 3.1 description, generated from the structs of its messages, so that nothing is written twice."""

import inspect
from dataclasses import dataclass
from typing import Any

import msgspec

from p2p.wire.tracker import PEER_HEADER, SIGNATURE_HEADER, Announce, Problem

REF = "#/components/schemas/{name}"


@dataclass(frozen=True)
class ApiOperation:
    """The description of one route; each `{name}` in its path stands for an id or a key in base32."""

    path: str
    summary: str
    answer: type[msgspec.Struct]
    query: type[msgspec.Struct] | None = None
    problems: tuple[int, ...] = (429, 503)
    body: type[msgspec.Struct] | None = None
    media_type: str = "application/json"


def describe(operations: list[ApiOperation], version: str) -> dict[str, Any]:
    """The OpenAPI document."""
    answers = [operation.answer for operation in operations]
    _, schemas = msgspec.json.schema_components([Announce, Problem, *answers], ref_template=REF)
    for schema in schemas.values():
        if "description" in schema:  # a docstring, which keeps its indentation before Python 3.13
            schema["description"] = inspect.cleandoc(schema["description"])
    paths = {operation.path: _described(operation) for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Shoal tracker",
            "version": version,
            "description": "Search, browse, who has what, who offers compute. Ids are base32, sizes bytes, times "
            "seconds. Errors are a Problem.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _described(operation: ApiOperation) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if operation.query is not None:
        parameters += _of_query(operation.query)
    said: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {
            "200": {
                "description": inspect.getdoc(operation.answer) or "",
                "content": {operation.media_type: {"schema": _ref(operation.answer)}},
            }
        }
        | {
            str(status): {
                "description": "Refused: the error says why.",
                "content": {"application/json": {"schema": _ref(Problem)}},
            }
            for status in operation.problems
        },
    }
    if operation.body is None:
        return {"get": said | {"parameters": parameters}}
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in (
            (PEER_HEADER, "The announcer's peer id."),
            (SIGNATURE_HEADER, "Base64 of its Ed25519 signature over the body as sent, with the purpose of announces."),
        )
    ]
    body = {"required": True, "content": {"application/json": {"schema": _ref(operation.body)}}}
    return {"post": said | {"parameters": parameters + headers, "requestBody": body}}


def _of_query(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(query, ref_template=REF)
    properties: dict[str, Any] = schema["$defs"][query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": described} for name, described in properties.items()
    ]


def _ref(of: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": REF.format(name=of.__name__)}
