"""Instruments without hardware: the simulated microscope and recordings played back."""
