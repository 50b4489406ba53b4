"""What `make check-cuda` looks at: samples -> runs -> digests -> rows -> table."""
