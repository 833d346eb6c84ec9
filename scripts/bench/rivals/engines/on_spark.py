"""PySpark in local mode. What is handed out together is one job of as many partitions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession

from scripts.bench.rivals.engines.engine import Function


class _Spark:
    def __init__(self, context: Any) -> None:
        self._context = context

    def each(self, function: Function, items: Sequence[Any]) -> list[Any]:
        return list(self._context.parallelize(items, len(items)).map(function).collect())

    def alone(self, function: Function, item: Any) -> Any:
        return self.each(function, [item])[0]

    def as_they_come(self, function: Function, items: Sequence[Any]) -> Iterator[Any]:
        return iter(self.each(function, items))

    def words(self, paths: Sequence[str]) -> Mapping[str, int]:
        lines = self._context.textFile(",".join(paths))
        pairs = lines.flatMap(lambda line: line.split()).map(lambda word: (word, 1))
        return dict(pairs.reduceByKey(lambda a, b: a + b).collect())


@contextmanager
def open_engine(workers: int) -> Iterator[_Spark]:
    builder = SparkSession.builder.master(f"local[{workers}]").appName("bench")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "4g",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    try:
        yield _Spark(session.sparkContext)
    finally:
        session.stop()
