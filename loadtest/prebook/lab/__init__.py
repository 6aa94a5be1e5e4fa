"""The lab: load a running suite over the network, inject faults, and reconcile the outcome of every ride."""
