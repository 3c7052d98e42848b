"""Where vectors go out: Feast's own gRPC protocol, answered from the online store. No pyspark."""
