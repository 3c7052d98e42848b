"""Questions to the lineage backend, and its answers."""
