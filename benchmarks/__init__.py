"""Each benchmark pairs us with a named peer, in one run, on the same data."""
