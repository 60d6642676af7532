"""Real processes, proxies and clients, for the tests, the drill, the benchmarks and the demo."""
