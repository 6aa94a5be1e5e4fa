"""How a service runs: settings, logging, telemetry, start and stop."""
