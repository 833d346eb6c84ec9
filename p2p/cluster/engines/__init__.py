"""The engines, as data: which programs run where, what says that they are ready, and which ports lead to them."""
