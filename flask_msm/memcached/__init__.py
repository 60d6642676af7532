"""The client of one memcached node."""
