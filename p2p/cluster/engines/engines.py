"""All engines by their names."""

from p2p.cluster.engines.dask import Dask
from p2p.cluster.engines.engine import Engine
from p2p.cluster.spec import EngineName


def engine(name: EngineName) -> Engine:
    """The engine of this name, for one cluster."""
    match name:
        case "dask":
            return Dask()
