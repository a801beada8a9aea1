"""Files: atomic writes, digests, checksums of metadata, disk space."""
