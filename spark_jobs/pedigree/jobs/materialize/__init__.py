"""From one audited table version to the online store: load, rebuild, roll back."""
