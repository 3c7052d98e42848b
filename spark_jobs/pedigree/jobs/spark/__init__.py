"""The Spark session: its jars, its Java, its settings."""
