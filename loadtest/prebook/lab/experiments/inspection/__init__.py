"""Experiment: inspecting messages changes nothing at the broker, unless the broker is where they are inspected."""
