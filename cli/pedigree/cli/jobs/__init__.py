"""The commands that run jobs."""
