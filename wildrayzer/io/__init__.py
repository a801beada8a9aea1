"""Files and folders: atomic writes, locks, digests, checksums of metadata, disk space, provenance."""
