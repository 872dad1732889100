//! test-servers.
