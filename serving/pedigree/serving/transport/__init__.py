"""gRPC: RPC handlers, the interceptor that every request passes, TLS, limits, health."""
