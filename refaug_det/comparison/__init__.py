"""Which backbone fine-tunes best: from run records to a table that can be trusted.

`protocol` says what must be equal for two APs to be compared, `compare` turns
run records into rows, `tables` renders them. Importing loads no torch.
"""
