"""Windows over events: tiles, how they are kept, and the features that are computed from them."""
