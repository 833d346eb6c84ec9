"""The network of one cluster, as one of its members has it: a TUN device in its sandbox, and packets over connections.

`namespace`           the sandbox's own network, by way of a helper process that is in it (`namespace_helper`)
`tun`                 packets in and out of the device
`link`                packets with one other member, over a connection of their own
`network`             all of it for one member: who is there, who is dialled, what a lost member's engines are told
`doors`, `http_door`  ports of the owner's machine that lead into the network; those to dashboards pass a guard

What may go where, and who counts as gone, is decided in `p2p.core.cluster`. Nothing here knows of allocations or
engines.
"""
