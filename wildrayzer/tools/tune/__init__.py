"""What `wildrayzer tune` reads and draws."""
