"""Where records are kept: memcached nodes and local storage."""
