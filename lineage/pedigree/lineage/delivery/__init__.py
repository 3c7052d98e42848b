"""The way of events to the backend: an outbox on disk, sent in order and once."""
