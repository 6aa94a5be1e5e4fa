"""Settings of a PostgreSQL server that the suite starts, from the wheel or in a container."""

from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    # Five services with up to 16 connections and one listener each, and room for people who look in.
    "max_connections": "240",
    "jit": "off",
    # An outbox is empty again within seconds: it is looked at as often.
    "autovacuum_naptime": "5s",
    # Plans hang on indexes and not on statistics (prebook.postgres.engine). Each look at a busy table would draw
    # 30,000 rows of it, 48 MB at a time and a hundredth of two cores under load; a tenth of them tells as much.
    "default_statistics_target": "10",
}
ENVIRONMENT: Mapping[str, str] = {
    # The C library's: a connection gives back what it needed once. 3.4 MB each under load, where it was 4.5.
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "16384",
}
