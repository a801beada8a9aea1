"""Input and plots of `wildrayzer masks tune`."""
