"""Runs single units in a guest, in the same way for a volunteer and for an owner that runs a unit itself.

`unit` takes a unit into a guest and out again, `unit_inputs` gets what the unit reads, `runner` runs it; `reassembly`
joins the pieces of what is too large for one message, `kept_outputs` keeps large outputs for other volunteers, and
`output_reader` reads outputs that others keep. The package imports neither `p2p.compute.owner` nor
`p2p.compute.volunteer`, which both use it.
"""
