"""The commands that show lineage."""
