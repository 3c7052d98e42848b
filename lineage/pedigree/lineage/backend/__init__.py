"""The embedded lineage backend: Marquez's HTTP API over SQLite or PostgreSQL."""
