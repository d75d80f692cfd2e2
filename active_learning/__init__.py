"""Surrogates, acquisition, policies, stopping, and the loop that joins them."""
