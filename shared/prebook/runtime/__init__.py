"""Process of a service: settings, logging, telemetry, start and stop."""
