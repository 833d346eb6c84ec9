"""Runs single units in a guest, in the same way for a volunteer and for an owner that runs a unit itself.

`unit` passes a unit's data into a guest and its outputs out again, `unit_inputs` gets what the unit reads, `runner`
runs it; `reassembly` joins data that was too large for one message, `kept_outputs` keeps large outputs for other
volunteers, and `output_reader` reads outputs that others keep. `p2p.compute.owner` and `p2p.compute.volunteer` both use
this package, which imports neither.
"""
