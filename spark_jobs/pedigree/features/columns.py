"""The two instants that every row of a feature table has."""

EVENT_AT = "event_at"
"""When the row became true: the instant at which it could be known."""

CREATED_AT = "created_at"
"""When we learnt it: the start of the run that wrote it."""
