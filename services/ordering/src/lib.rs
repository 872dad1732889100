//! ordering service.
