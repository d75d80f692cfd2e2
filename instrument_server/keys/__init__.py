"""The instrument's keys: who may come in, in which role, until when."""
