"""How rows get there: read, transform, conform, check, publish; materialize. The only code that imports pyspark."""
