"""What is learnt from images and spectra, in PyTorch and scikit-learn."""
