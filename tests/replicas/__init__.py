"""Replicas behind Envoy, by the configuration that ships: what a client loses."""
