"""Figures in the text form of Prometheus: those of the requests to an application, and whatever it measures itself."""

import time
from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Metrics:
    """The metrics of an application's HTTP requests, in a registry of their own. Their names begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            f"{prefix}_requests", "Requests by route and status.", ("route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            f"{prefix}_request_seconds",
            "Seconds to the start of the answer, by route.",
            ("route",),
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            registry=self._registry,
        )

    def answer(self, *more: bytes) -> Response:
        """Makes the answer to a request for all figures; `more` are those that the application measured."""
        return Response(b"".join(more) + generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


def gauges(prefix: str, figures: Mapping[str, float]) -> bytes:
    """Figures that go up and down, by name."""
    return "".join(_figure(f"{prefix}_{name}", "gauge", value) for name, value in figures.items()).encode()


def counters(prefix: str, figures: Mapping[str, float]) -> bytes:
    """Figures that only go up while a process runs, by name."""
    return "".join(_figure(f"{prefix}_{name}_total", "counter", value) for name, value in figures.items()).encode()


def _figure(name: str, kind: str, value: float) -> str:
    return f"# TYPE {name} {kind}\n{name} {value}\n"


def route_declared(scope: Scope) -> str:
    """The path of the route that answered, as the route was declared, so that metrics have few labels."""
    return getattr(scope.get("route"), "path", "none")


class Measured:
    """Wraps the application: counts its requests, by the status of the answer, and measures how long each takes."""

    def __init__(self, app: ASGIApp, metrics: Metrics, route: Callable[[Scope], str] = route_declared) -> None:
        self._app = app
        self._metrics = metrics
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.seconds.labels(self._route(scope)).observe(time.perf_counter() - started)
            await send(message)

        try:
            await self._app(scope, receive, answering)
        finally:
            self._metrics.requests.labels(self._route(scope), str(status)).inc()
