"""The registry `oci`: any service that speaks the OCI distribution protocol (Docker Registry v2)."""
