"""Reading the online store: connections to Redis and what is read of it."""
