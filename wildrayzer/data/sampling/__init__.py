"""Which frames are seen together: training views, residual windows, index files."""
