"""One unit in a guest, the same for a volunteer and for an owner that runs a unit itself.

`unit` is a unit on its way in and out, `unit_inputs` what it reads, `runner` who runs it; `reassembly` puts together
what is too large for a message, and `kept_outputs` keeps large outputs for other volunteers to read.
"""
