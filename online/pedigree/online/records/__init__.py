"""The packed record of one entity key and view."""
