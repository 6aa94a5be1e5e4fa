collect_ignore = ["example_project"]
"""Run by tests/architecture/test_wheel.py, as the separate project that it is."""
