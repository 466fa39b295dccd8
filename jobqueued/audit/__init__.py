"""Audit: due times compared with records, without the code that decided about them."""
