"""The serving plan: what `feast apply` compiles from the registry, as data, for servers to load."""
