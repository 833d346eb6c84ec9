"""What a user may request of a running peer.

The package's interface: `client.ask` sends a request over the socket of a `Server`; `Operations` carries it out,
through the interfaces of lower packages. `p2p.client` asks without trio; `reply` is what both have in common. The
package does not depend on `p2p.commandline`. This file imports nothing, so that a command that only sends a request
starts fast.
"""
