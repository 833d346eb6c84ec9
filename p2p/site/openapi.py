"""The OpenAPI 3.1 description of an API, made from the structs of its messages, so that nothing is written twice."""

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

REF = "#/components/schemas/{name}"


class ApiOperation(msgspec.Struct, frozen=True):
    """The description of one route; each `{name}` in its path stands for an id or a key in base32.

    A route with a `body` is asked by POST. `headers` are those that it needs besides, each with its description.
    """

    path: str
    summary: str
    answer: Any
    query: type[msgspec.Struct] | None = None
    problems: tuple[int, ...] = (429, 503)
    body: type[msgspec.Struct] | None = None
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def describe(
    operations: Sequence[ApiOperation], problem: type[msgspec.Struct], *, title: str, version: str, text: str
) -> dict[str, Any]:
    """The OpenAPI document. Refusals are answered with a `problem`."""
    bodies = [operation.body for operation in operations if operation.body is not None]
    types = [problem, *bodies, *(operation.answer for operation in operations)]
    shown, schemas = msgspec.json.schema_components(types, ref_template=REF)
    answers = shown[1 + len(bodies) :]
    for schema in schemas.values():
        if "description" in schema:  # a docstring, which keeps its indentation before Python 3.13
            schema["description"] = inspect.cleandoc(schema["description"])
    for body in bodies:
        _without_tag(schemas[body.__name__], body)
    paths = {
        operation.path: _described(operation, answer, shown[0])
        for operation, answer in zip(operations, answers, strict=True)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": text},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _described(operation: ApiOperation, answer: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if operation.query is not None:
        parameters += _of_query(operation.query)
    parameters += [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in operation.headers
    ]
    said: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": _doc(operation.answer), "content": {operation.media_type: {"schema": answer}}}
        }
        | {
            str(status): {
                "description": "Refused: the error says why.",
                "content": {"application/json": {"schema": problem}},
            }
            for status in operation.problems
        },
    }
    if operation.body is None:
        return {"get": said}
    body = {"$ref": REF.format(name=operation.body.__name__)}
    return {"post": said | {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}}


def _of_query(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(query, ref_template=REF)["$defs"][query.__name__]
    _without_tag(schema, query)
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": described}
        for name, described in schema["properties"].items()
    ]


def _without_tag(schema: dict[str, Any], of: type[msgspec.Struct]) -> None:
    """Takes out the field that names the struct in a union: an address names it already."""
    tag = of.__struct_config__.tag_field
    if tag is not None:
        del schema["properties"][tag]
        schema["required"] = [name for name in schema["required"] if name != tag]


def _doc(answer: Any) -> str:
    return (inspect.getdoc(answer) or "") if isinstance(answer, type) else ""
