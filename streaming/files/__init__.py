"""Files of the field: read recordings, write NSID."""
