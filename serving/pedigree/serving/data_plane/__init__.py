"""What the server can answer, without any transport: selection, vectors, on-demand features, explain."""
