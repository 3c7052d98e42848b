"""Training sets by one id: what they are made of, where they are kept, and what keeps their table versions alive."""
