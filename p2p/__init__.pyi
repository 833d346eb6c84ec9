from p2p.client.clusters.dask import DaskCluster as DaskCluster
from p2p.client.peer import Peer as Peer
from p2p.client.running import Running as Running
from p2p.compute.answers import JobAnswer as JobAnswer
from p2p.compute.answers import JobRow as JobRow
from p2p.compute.answers import LogRow as LogRow
from p2p.control.answers import CancelAnswer as CancelAnswer
from p2p.control.answers import GetAnswer as GetAnswer
from p2p.control.answers import HitRow as HitRow
from p2p.control.answers import ListedRow as ListedRow
from p2p.control.answers import PeerRow as PeerRow
from p2p.control.answers import ShareAnswer as ShareAnswer
from p2p.control.answers import ShareRow as ShareRow
from p2p.control.answers import StatusAnswer as StatusAnswer
from p2p.control.answers import UnshareAnswer as UnshareAnswer
from p2p.progress import Progress as Progress

__version__: str
