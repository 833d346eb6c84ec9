"""One unit in a guest, the same for a volunteer and for an owner that runs a unit itself.

`unit` takes a unit into a guest and out again, `unit_inputs` gets what it reads, `runner` runs it; `reassembly` puts
together what is too large for a message, `kept_outputs` keeps large outputs for other volunteers, and `output_reader`
reads them there. Imports neither `p2p.compute.owner` nor `p2p.compute.volunteer`, which both use it.
"""
