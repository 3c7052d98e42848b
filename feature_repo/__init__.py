"""What exists: entities, sources, views, services and contracts. Declarations only."""
