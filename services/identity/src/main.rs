//! The identity service's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_host::main::<identity::Identity>()
}
