"""What is done between requests: probes, repairs, rebuilds, failback, reports."""
