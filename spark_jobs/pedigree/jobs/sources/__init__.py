"""Reading sources in a known version, and the events that are made of them."""
