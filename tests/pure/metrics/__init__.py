"""Tests of metrics, without I/O."""
