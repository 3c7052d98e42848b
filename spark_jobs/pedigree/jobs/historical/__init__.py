"""Historical features: Feast's offline store plugin, with a point-in-time join by Spark or DuckDB."""
