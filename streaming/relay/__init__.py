"""A meeting place outside the firewall: instrument and client both dial out to it, it passes their bytes on."""

from .gate import Gate as Gate
