//! The executable of the identity service.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: service_host::Allocator = service_host::Allocator;

fn main() -> ExitCode {
    service_host::main::<identity::Identity>()
}
