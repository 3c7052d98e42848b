"""Who made what from what: names, the recorder that jobs use, the outbox, the store behind Marquez's HTTP API."""
