"""Experiments with integration patterns of the suite. Source: Enterprise Integration Patterns (EIP)."""
