"""What keeps the cluster whole: probes, repairs, rebuilds. Never in the way of a request."""
