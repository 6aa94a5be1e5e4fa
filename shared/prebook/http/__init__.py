"""HTTP adapters: client, inbound routes, problem documents, health checks."""
