"""What `wildrayzer masks tune` reads and draws."""
