collect_ignore = ["example_project"]
"""Run by tests/architecture/test_wheel.py, as the project of its own that it is."""
