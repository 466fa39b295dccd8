"""Audit: due times beside records, read by nobody who has decided about them."""
