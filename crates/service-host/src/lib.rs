//! service-host.
