"""An index of packages on loopback, which pip asks."""

from collections.abc import Mapping

import trio

from tests.support.http_trackers import HttpServer, response, start


async def serve_index(nursery: trio.Nursery, wheels: Mapping[str, bytes]) -> HttpServer:
    """Serves these wheels, given by file name, at `/simple/`."""

    def say(request: bytes) -> bytes:
        path = request.split(b" ")[1].decode()
        name = path.removeprefix("/files/")
        if name in wheels:
            return response(200, wheels[name], "content-type: application/octet-stream")
        project = path.removeprefix("/simple/").strip("/")
        found = [one for one in wheels if one.partition("-")[0].replace("_", "-").lower() == project]
        links = "".join(f'<a href="/files/{one}">{one}</a>' for one in found)
        return response(200 if found else 404, f"<!DOCTYPE html>{links}".encode(), "content-type: text/html")

    return await start(nursery, say)
