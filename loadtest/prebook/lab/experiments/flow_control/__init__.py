"""Experiments on control flow: a queue as a traffic shaper, messages in progress, and the value of a time to live."""
