"""TCP proxies that inject network faults between a service and its servers."""
